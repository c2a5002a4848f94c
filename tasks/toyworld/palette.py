"""The ten named colours, the fixed materials, and which pairs of colours can be told apart."""

import numpy as np

# sRGB, 0..255. Ten colours far apart, so that eight-fold compression keeps them apart too.
RGB: dict[str, tuple[int, int, int]] = {
    "red": (216, 24, 34),
    "orange": (250, 124, 12),
    "yellow": (253, 214, 24),
    "green": (30, 152, 50),
    "blue": (28, 84, 222),
    "purple": (126, 38, 178),
    "pink": (255, 138, 192),
    "brown": (122, 68, 32),
    "white": (246, 246, 246),
    "black": (30, 30, 34),
}
COLOURS = list(RGB)

_CONFUSABLE = {
    frozenset(pair.split("-"))
    for pair in [
        "red-orange",
        "red-pink",
        "red-brown",
        "red-purple",
        "orange-yellow",
        "orange-brown",
        "orange-pink",
        "purple-blue",
        "purple-pink",
        "blue-black",
        "brown-black",
        "purple-black",
        "brown-purple",
        "brown-green",
        "green-blue",
        "green-black",
        "yellow-white",
        "pink-white",
    ]
}


def contrasting(colour: str) -> list[str]:
    """The colours that stay clearly apart from `colour` at 128 px."""
    return [other for other in COLOURS if other != colour and frozenset((colour, other)) not in _CONFUSABLE]


def linear(rgb: tuple[int, int, int]) -> np.ndarray:
    """sRGB 0..255 to linear light, [3] in 0..1 (plain gamma 2.2, as the kernel inverts it)."""
    return (np.asarray(rgb, np.float64) / 255.0) ** 2.2
