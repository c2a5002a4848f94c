"""Place the camera so that the subjects fill the frame and nothing of them is cut off."""

import math

import numpy as np

from tasks.toyworld.encode import camera_row, object_rows
from tasks.toyworld.kernel import silhouette
from tasks.toyworld.stage import Camera, Placed

MARGIN = 0.035  # of the frame, kept free on every side


def framed(
    objects: tuple[Placed, ...],
    yaw_deg: float,
    elevation_deg: float,
    *,
    focal: float,
    rng: np.random.Generator,
) -> Camera:
    """Find the camera on a given line of sight whose frame the silhouette fills by 72 to 90 %.

    Three low-resolution silhouettes: the first sets distance and centre, the others correct for perspective.
    """
    rows = object_rows(objects)
    fill = float(rng.uniform(0.72, 0.9)) if len(objects) == 1 else float(rng.uniform(0.82, 0.9))
    slack = 1.0 - MARGIN - fill
    aim = rng.uniform(-1.0, 1.0, 2) * slack * (0.8, 0.6)
    centre = np.array([np.mean([o.x for o in objects]), 0.7, np.mean([o.z for o in objects])])
    distance = 1.6 * focal * (1.0 if len(objects) == 1 else 1.6)
    for size_px in (40, 40, 48):
        camera = _looking_at(centre, yaw_deg, elevation_deg, distance, focal)
        seen = silhouette(rows, camera_row(camera), size_px)
        u = np.flatnonzero(seen.any(axis=0)) * 2.0 / size_px - 1.0
        v = 1.0 - np.flatnonzero(seen.any(axis=1)) * 2.0 / size_px
        pixel = 2.0 / size_px
        left, right, top, bottom = u[0], u[-1] + pixel, v[0], v[-1] - pixel
        half = max(right - left, top - bottom) / 2
        right_axis, up_axis, _ = camera.axes()
        # Move in parallel to the image so that its middle lies on the axis, then approach.
        centre = centre + (right_axis * (left + right) / 2 + up_axis * (top + bottom) / 2) * distance / focal
        distance = distance * half / fill
    wide, high = (right - left) / 2 * fill / half, (top - bottom) / 2 * fill / half
    room = np.array([1.0 - MARGIN * 2 - wide, 1.0 - MARGIN * 2 - high])
    aim = np.clip(aim, -room, room)
    centre = centre - (right_axis * aim[0] + up_axis * aim[1]) * distance / focal
    camera = _looking_at(centre, yaw_deg, elevation_deg, distance, focal)
    if camera.position[1] < 0.12:
        x, _, z = camera.position
        camera = Camera((x, 0.12, z), yaw_deg, elevation_deg, focal)
    return camera


def _looking_at(
    centre: np.ndarray, yaw_deg: float, elevation_deg: float, distance: float, focal: float
) -> Camera:
    a, e = math.radians(yaw_deg), math.radians(elevation_deg)
    away = np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    x, y, z = (float(v) for v in centre + away * distance)
    return Camera((x, y, z), yaw_deg, elevation_deg, focal)
