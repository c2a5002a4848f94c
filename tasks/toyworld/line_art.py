"""Line drawings and drawn styles, from the buffers of a render."""

import numpy as np


def line_art(who: np.ndarray, part: np.ndarray, normal: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Dark lines on white paper, uint8 [h w]: outlines, part borders, creases and steps in depth.

    Args:
        who: object per pixel, -1 for the backdrop. [h w]
        normal: world normals. [h w 3]
    """
    ink = np.zeros(who.shape, np.float32)
    for axis in (0, 1):
        near = [slice(None), slice(None)]
        far = [slice(None), slice(None)]
        near[axis], far[axis] = slice(None, -1), slice(1, None)
        a, b = tuple(near), tuple(far)
        crease = 1.0 - (normal[a] * normal[b]).sum(-1)
        step = np.abs(depth[a] - depth[b]) / np.minimum(depth[a], depth[b])
        subject = (who[a] >= 0) | (who[b] >= 0)
        line = np.maximum.reduce([
            (who[a] != who[b]) * 1.0,
            ((part[a] != part[b]) & subject) * 0.8,
            np.clip((crease - 0.25) * 2.0, 0, 0.8) * (depth[a] < 50) * np.where(subject, 1.0, 0.5),
            np.clip((step - 0.08) * 8.0, 0, 0.7) * np.where(subject, 1.0, 0.5),
        ])  # fmt: skip
        ink[a] = np.maximum(ink[a], line)
        ink[b] = np.maximum(ink[b], line * 0.5)
    return np.round(255 * (1.0 - np.clip(ink, 0, 1))).astype(np.uint8)


def inked(rgb: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Flat colours [h w 3] in 0..1 with outlines over them."""
    return rgb * (0.1 + 0.9 * lines[..., None] / 255.0)


def pencilled(rgb: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Pencil on paper: lines over a light wash of the picture's brightness, [h w 3] in 0..1."""
    grey = rgb @ np.array([0.3, 0.59, 0.11], np.float32)
    wash = 0.78 + 0.22 * grey
    paper = np.array([0.98, 0.96, 0.91], np.float32)
    return paper * (wash * (0.15 + 0.85 * lines / 255.0))[..., None]
