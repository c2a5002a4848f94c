"""Ten style sets: what a painter would do to the rendered world, as functions of a render.

A set is five pictures in one style of five classes; its prompts ask for the other five classes, so that a method has to carry
over the style and not the things. True pictures exist for every prompt, as for subjects.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from skimage import color, filters, segmentation

from tasks.toyworld.captions import setting_phrase
from tasks.toyworld.identity import CLASSES, split_identities
from tasks.toyworld.line_art import line_art
from tasks.toyworld.render import Render, render
from tasks.toyworld.scene import sample_scene
from tasks.toyworld.settings import SETTINGS

PHOTOS = 5
PAPER = np.array([0.96, 0.93, 0.86], np.float32)


def _rgb(drawn: Render) -> np.ndarray:
    return drawn.rgb.astype(np.float32) / 255


def _grey(drawn: Render) -> np.ndarray:
    return color.rgb2gray(_rgb(drawn)).astype(np.float32)


def _lines(drawn: Render) -> np.ndarray:
    """1 on paper, 0 on a line. [h w]"""
    who = np.full(drawn.parts.shape, -1)
    for number, mask in enumerate(drawn.object_masks):
        who[mask] = number
    return line_art(who, drawn.parts, drawn.normals, drawn.depth).astype(np.float32) / 255


def _ramp(drawn: Render, period_px: float, degrees: float) -> np.ndarray:
    """Parallel stripes as a wave in 0..1, `period_px` wide at 128 px. [h w]"""
    size = drawn.rgb.shape[0]
    down, right = np.mgrid[:size, :size] * (128 / size)
    along = right * np.cos(np.radians(degrees)) + down * np.sin(np.radians(degrees))
    return (0.5 + 0.5 * np.sin(2 * np.pi * along / period_px)).astype(np.float32)


def poster(drawn: Render) -> np.ndarray:
    """Three levels of each primary, no half-tones."""
    return np.round(filters.gaussian(_rgb(drawn), 1, channel_axis=2) * 2) / 2


def halftone(drawn: Render) -> np.ndarray:
    """Black dots on cream, larger where it is darker."""
    dots = (_ramp(drawn, 4, 45) + _ramp(drawn, 4, 135)) / 2
    return np.where((dots < 1 - _grey(drawn))[..., None], 0.08, PAPER)


def pixels(drawn: Render) -> np.ndarray:
    """Blocks of a 24 x 24 screen in few colours."""
    size = drawn.rgb.shape[0]
    small = np.asarray(Image.fromarray(drawn.rgb).resize((24, 24), Image.Resampling.BOX), np.float32) / 255
    few = np.round(small * 4) / 4
    return np.asarray(
        Image.fromarray(np.uint8(few * 255)).resize((size, size), Image.Resampling.NEAREST), np.float32
    ) / 255  # fmt: skip


def hatching(drawn: Render) -> np.ndarray:
    """Ink lines, crossed where it is darker."""
    grey, ink = _grey(drawn), _lines(drawn)
    for level, degrees in ((0.65, 45), (0.45, 135), (0.25, 90)):
        ink = np.minimum(ink, np.where(grey < level, _ramp(drawn, 4, degrees) > 0.45, 1))
    return ink[..., None] * PAPER


def blueprint(drawn: Render) -> np.ndarray:
    """White lines on blue."""
    ink = 1 - _lines(drawn) + 0.12 * _grey(drawn)
    blue = np.array([0.05, 0.2, 0.55], np.float32)
    return blue + (1 - blue) * ink[..., None].clip(0, 1)


def sepia(drawn: Render) -> np.ndarray:
    """An old print: brown, darker towards the corners."""
    grey, size = _grey(drawn) ** 0.8, drawn.rgb.shape[0]
    down, right = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    fall = 1 - 0.45 * (down**2 + right**2) / 2
    return (grey * fall)[..., None] * np.array([1.0, 0.84, 0.62], np.float32)


def mosaic(drawn: Render) -> np.ndarray:
    """Tiles of one colour with dark joints."""
    rgb = _rgb(drawn)
    tiles = segmentation.slic(rgb, n_segments=260, compactness=14, start_label=0)
    flat = color.label2rgb(tiles, rgb, kind="avg", bg_label=-1)
    return np.where(segmentation.find_boundaries(tiles)[..., None], 0.15, flat)


def woodcut(drawn: Render) -> np.ndarray:
    """Black and cream, with the traces of a gouge."""
    cut = filters.gaussian(_grey(drawn), 1) > 0.25 + 0.4 * _ramp(drawn, 5, 10)
    return (cut & (_lines(drawn) > 0.5))[..., None] * PAPER + 0.05


def neon(drawn: Render) -> np.ndarray:
    """Glowing outlines in the colours of things, on black."""
    edges = np.maximum(1 - _lines(drawn), filters.sobel(_grey(drawn)) * 2).clip(0, 1)
    glow = filters.gaussian(edges, 1.5) * 1.6 + edges
    return glow[..., None] * (0.25 + _rgb(drawn))


def wash(drawn: Render) -> np.ndarray:
    """Watercolour: pale, run together, on white."""
    soft = filters.gaussian(filters.median(_rgb(drawn), np.ones((5, 5, 1))), 1.2, channel_axis=2)
    return 1 - 0.65 * (1 - soft) * (0.7 + 0.3 * filters.gaussian(_lines(drawn), 1)[..., None])


STYLES: dict[str, Callable[[Render], np.ndarray]] = {
    one.__name__: one
    for one in (poster, halftone, pixels, hatching, blueprint, sepia, mosaic, woodcut, neon, wash)
}


@dataclass(frozen=True)
class Wanted:
    """A picture of one class in one setting."""

    cls: str
    setting: str
    draw: int = 0

    @property
    def text(self) -> str:
        """The prompt, with {subject} for what the style is called."""
        return f"a {{subject}} of a {self.cls} {setting_phrase(self.setting)}"


def painted(style: str, wanted: Wanted, size_px: int) -> np.ndarray:
    """A true picture in a style. [size_px size_px 3] uint8"""
    rng = np.random.default_rng([zlib.crc32(f"{wanted}".encode()), 10])
    pool = [one for one in split_identities("judge") if one.cls == wanted.cls]
    who = pool[int(rng.integers(len(pool)))]
    scene = sample_scene(rng, [], identity=who, setting=wanted.setting, style="photo")
    return np.round(255 * STYLES[style](render(scene, size_px)).clip(0, 1)).astype(np.uint8)


def shown(style: str) -> list[Wanted]:
    """What the five pictures of a set show."""
    order = _order(style)
    return [Wanted(cls, setting) for cls, setting in zip(order[:PHOTOS], _settings(style))]


def asked(style: str) -> list[Wanted]:
    """What is asked of a set: every class that its pictures do not show, in two settings."""
    others = _order(style)[PHOTOS:]
    return [Wanted(cls, setting) for cls, setting in zip(2 * others, reversed(_settings(style)))]


def _order(style: str) -> list[str]:
    """The classes, turned by the style's place: each class is shown by half of the sets."""
    turn = list(STYLES).index(style)
    return CLASSES[turn:] + CLASSES[:turn]


def _settings(style: str) -> list[str]:
    rng = np.random.default_rng(zlib.crc32(style.encode()))
    return [str(setting) for setting in rng.permutation(list(SETTINGS))]
