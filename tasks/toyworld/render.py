"""Render a scene to everything later steps need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.toyworld import encode, kernel
from tasks.toyworld.identity import CLASSES
from tasks.toyworld.line_art import inked, line_art, pencilled
from tasks.toyworld.props import draw_props
from tasks.toyworld.scene import Scene
from tasks.toyworld.settings import SETTINGS
from tasks.toyworld.shapes import face_points
from tasks.toyworld.stage import Camera


@dataclass(frozen=True)
class Render:
    """Buffers of one picture, all of the same size."""

    rgb: np.ndarray  # uint8 [h w 3], sRGB
    object_masks: np.ndarray  # bool [k h w], disjoint, True = object k is visible here
    parts: np.ndarray  # uint8 [h w], index into primitives.PART_NAMES
    shadows: np.ndarray  # bool [k h w], True = object k keeps the light off here (itself excluded)
    depth: np.ndarray  # float32 [h w], along the camera axis; settings.FAR for the sky
    normals: np.ndarray  # float32 [h w 3], world frame; 0 for the sky
    keypoints: dict[int, dict[str, tuple[float, float, bool]]]  # object -> point -> u, v in px, visible
    camera: Camera

    @cached_property
    def line_art(self) -> np.ndarray:
        """Dark lines on white, uint8 [h w]."""
        return line_art(_front(self.object_masks), self.parts, self.normals, self.depth)


def render(scene: Scene, size_px: int = 128) -> Render:
    """Draw the scene at any size; the same scene gives the same bytes."""
    rows = encode.object_rows(scene.objects)
    rng = np.random.default_rng(scene.seed)
    sp = rng.random(8)
    props = draw_props(scene.setting, rng)
    a, e = math.radians(scene.light_yaw_deg), math.radians(scene.light_elevation_deg)
    light = np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    look = kernel.CARTOON if scene.style == "cartoon" else kernel.PHOTO
    rgb, who, part, normal, depth, bits = kernel.picture(
        rows, SETTINGS.index(scene.setting), sp, props, light, look, encode.camera_row(scene.camera), size_px
    )
    if scene.style == "cartoon":
        rgb = inked(rgb, line_art(who, part, normal, depth))
    elif scene.style == "sketch":
        rgb = pencilled(rgb, line_art(who, part, normal, depth))
    count = len(scene.objects)
    return Render(
        rgb=np.round(255 * np.clip(rgb, 0, 1)).astype(np.uint8),
        object_masks=np.stack([who == k for k in range(count)]),
        parts=part,
        shadows=np.stack([(bits >> k) & 1 == 1 for k in range(count)]),
        depth=depth,
        normals=normal,
        keypoints=_keypoints(scene, who, depth, size_px),
        camera=scene.camera,
    )


def _front(object_masks: np.ndarray) -> np.ndarray:
    """Index of the visible object, -1 for the backdrop; [h w] from [k h w]."""
    return np.where(object_masks.any(axis=0), object_masks.argmax(axis=0), -1)


def _keypoints(scene: Scene, who: np.ndarray, depth: np.ndarray, size_px: int) -> dict:
    """Projected face points; visible when the surface there is not clearly nearer than the point."""
    found: dict[int, dict[str, tuple[float, float, bool]]] = {}
    for k, placed in enumerate(scene.objects):
        points = face_points(CLASSES.index(placed.identity.cls), placed.identity.shape)
        if not points:
            continue
        projected = scene.camera.project(placed.world(np.array(list(points.values()))), size_px)
        found[k] = {}
        for name, (u, v, z) in zip(points, projected, strict=True):
            i, j = (min(max(int(c), 0), size_px - 1) for c in (v, u))
            found[k][name] = (
                float(u),
                float(v),
                bool(who[i, j] == k and depth[i, j] > z - 0.08 * placed.scale),
            )
    return found
