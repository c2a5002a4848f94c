"""Toyworld's renderer: repeatable, exact where a closed form exists, nothing cut off."""

import math

import numpy as np
import pytest

from tasks.toyworld import encode, kernel, shapes
from tasks.toyworld.identity import CLASSES, split_identities
from tasks.toyworld.render import render
from tasks.toyworld.scene import Scene, sample_scene
from tasks.toyworld.settings import SETTINGS
from tasks.toyworld.stage import Camera

POOL = split_identities("train")


def scenes(count: int, seed: int = 0, **fixed) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, POOL, **fixed) for _ in range(count)]


def test_the_same_scene_gives_the_same_bytes():
    scene = scenes(1)[0]
    first = render(scene, 48)
    np.random.rand(3)  # noqa: NPY002  a global draw must not matter
    second = render(scenes(1)[0], 48)
    assert first.rgb.tobytes() == second.rgb.tobytes()
    assert first.depth.tobytes() == second.depth.tobytes()


@pytest.mark.parametrize("setting", SETTINGS)
def test_buffers_agree_with_each_other(setting):
    for scene in scenes(2, 3, setting=setting, objects=2):
        drawn = render(scene, 64)
        assert drawn.rgb.shape == (64, 64, 3)
        assert drawn.rgb.dtype == np.uint8
        assert drawn.object_masks.shape == (2, 64, 64)
        assert drawn.object_masks.sum(axis=0).max() <= 1
        assert drawn.object_masks.any(axis=(1, 2)).all()
        assert ((drawn.parts > 0) == drawn.object_masks.any(axis=0)).all()
        assert np.isfinite(drawn.depth).all()
        assert drawn.depth.min() > 0
        assert not (drawn.shadows & drawn.object_masks).any(), "an object's own surface is no shadow of it"
        length = np.linalg.norm(drawn.normals, axis=-1)
        assert (np.isclose(length, 1, atol=1e-3) | (length == 0)).all()
        assert drawn.line_art.shape == (64, 64)


def test_one_object_fills_the_frame_and_is_not_cut_off():
    extents = []
    for scene in scenes(100, 5, objects=1):
        seen = kernel.silhouette(encode.object_rows(scene.objects), encode.camera_row(scene.camera), 96)
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        assert min(rows[0], columns[0]) > 0, scene
        assert max(rows[-1], columns[-1]) < 95, scene
        extents.append(max(np.ptp(rows), np.ptp(columns)) / 96)
    assert min(extents) > 0.6
    assert 0.72 < np.mean(extents) < 0.9


def test_depth_of_a_ball_and_of_the_ground_is_the_closed_form():
    camera = Camera((0.0, 1.0, 5.0), 0.0, 0.0, 2.0)
    row = np.zeros((1, 30))
    row[0, :8] = shapes.BALL, 0, 0, 1, 0, 1, *shapes.BOUNDS[shapes.BALL]
    size, light, nothing = 65, np.array([0.0, 1.0, 0.0]), np.zeros((0, 11))
    _, who, _, normal, depth, _ = kernel.picture(
        row, SETTINGS.index("moon"), np.zeros(8), nothing, light, 0, encode.camera_row(camera), size
    )
    u = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(u / 2, -u / 2)
    length = np.sqrt(1 + x * x + y * y)
    along = 5 / length  # distance of the ball's centre along the ray
    root = along**2 - 25 + 1
    on_ball = (root > 0.05) & (who == 0)
    assert on_ball.sum() > 200
    expected = (along - np.sqrt(np.maximum(root, 0))) / length
    np.testing.assert_allclose(depth[on_ball], expected[on_ball], atol=0.01)
    on_ground = (who == -1) & (y < -0.05)
    np.testing.assert_allclose(depth[on_ground], 1 / -y[on_ground], rtol=1e-4)
    assert (normal[on_ground] == (0, 1, 0)).all()


@pytest.mark.parametrize("cls", range(len(CLASSES)))
def test_every_toy_stays_inside_its_bounding_ball_and_above_the_ground(cls):
    rng = np.random.default_rng(cls)
    height, radius = shapes.BOUNDS[cls]
    for _ in range(12):
        shape = tuple(rng.integers(0, 2, 4).astype(float))
        directions = rng.normal(size=(400, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        outside = directions * radius * 1.001 + (0, height, 0)
        assert min(shapes.distance(cls, *p, *shape)[0] for p in outside) > 0
        plane = rng.uniform(-1, 1, (200, 2))
        assert min(shapes.distance(cls, p[0], -0.06, p[1], *shape)[0] for p in plane) > 0


def test_projection_agrees_with_the_depth_buffer():
    for scene in scenes(12, 9, objects=1, view="front"):
        drawn = render(scene, 96)
        for points in drawn.keypoints.values():
            for u, v, visible in points.values():
                assert 0 <= u <= 96
                assert 0 <= v <= 96
                if visible:
                    assert drawn.object_masks[0, int(v), int(u)]
    faces = [render(s, 96).keypoints for s in scenes(30, 10, objects=1, view="front")]
    seen = [visible for k in faces for points in k.values() for _, _, visible in points.values()]
    assert np.mean(seen) > 0.8
    hidden = [render(s, 96).keypoints for s in scenes(30, 11, objects=1, view="behind")]
    assert np.mean([v for k in hidden for points in k.values() for _, _, v in points.values()]) < 0.2


def test_camera_matrices_are_a_rotation_and_a_pinhole():
    camera = scenes(1)[0].camera
    rotation = camera.extrinsics()[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert math.isclose(np.linalg.det(rotation), 1.0)
    ahead = np.array(camera.position) + 3 * camera.axes()[2]
    np.testing.assert_allclose(camera.project(ahead[None], 128)[0], (64, 64, 3), atol=1e-9)


@pytest.mark.parametrize("style", ["cartoon", "sketch"])
def test_drawn_styles_differ_from_photos_but_show_the_same_scene(style):
    plain, drawn = (render(scenes(1, 4, style=s)[0], 48) for s in ("photo", style))
    assert (plain.object_masks == drawn.object_masks).all()
    assert (plain.rgb != drawn.rgb).mean() > 0.5
