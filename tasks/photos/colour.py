"""Any colour that a file can hold, as sRGB: profiles, CMYK, Lab, palettes, alpha, 16 bits, floats, grey."""

import io

import numpy as np
from PIL import Image, ImageCms

_SPACES = {
    "RGB": "RGB",
    "L": "GRAY",
    "CMYK": "CMYK",
}  # Pillow's mode -> colour space of the profile that fits
_SRGB, _LAB = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")


def flattened(image: Image.Image, warnings: list[str]) -> Image.Image:
    """Bring any mode to 8 bits a channel that resize well: RGB, RGBA, L, LA or CMYK."""
    mode = image.mode
    if mode.startswith(("I", "F")):
        return _eight_bits(image, warnings)
    if mode == "LAB":
        return _transformed(image, _LAB)
    if mode in ("RGBA", "LA") or (mode in ("RGB", "L", "CMYK") and "transparency" not in image.info):
        return image
    if mode == "La":
        return image.convert("LA")
    if mode == "1" and "transparency" not in image.info:
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _eight_bits(image: Image.Image, warnings: list[str]) -> Image.Image:
    """Grey of 16 or 32 bits or floats. 16 bits have a known white, others are stretched."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = 0.0, 65535.0
    sixteen = image.mode == "I" and values.min() >= 0 and 255 < values.max() <= high  # in a container of 32
    if not image.mode.startswith("I;16") and not sixteen:
        low, high = float(values.min()), float(values.max())
        warnings.append("its values have no known white: stretched over their own range")
    scaled = (values - low) * (255.0 / max(high - low, 1e-9))
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))


def to_srgb(image: Image.Image, profile: bytes | None, warnings: list[str]) -> Image.Image:
    """Apply the colour profile, then lay what is transparent on white.

    Args:
        image: as `flattened` returns it.
        profile: ICC bytes from the file, untrusted.
    Returns:
        mode RGB
    """
    if image.mode not in ("RGBA", "LA"):
        return _without_profile(image, profile, warnings)
    alpha = image.getchannel("A")
    opaque = _without_profile(image.convert("RGB" if image.mode == "RGBA" else "L"), profile, warnings)
    if alpha.getextrema() == (255, 255):
        return opaque
    warnings.append("partly transparent: laid on white")
    return Image.composite(opaque, Image.new("RGB", image.size, "white"), alpha)


def _without_profile(image: Image.Image, profile: bytes | None, warnings: list[str]) -> Image.Image:
    """`image` of mode RGB, L or CMYK in sRGB."""
    if not profile:
        return image.convert("RGB")
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space == "RGB" and image.mode == "L":  # a common slip of cameras and editors, without harm
            image = image.convert("RGB")
        if space != _SPACES[image.mode]:
            warnings.append("its colour profile is for another kind of picture: ignored")
            return image.convert("RGB")
        return _transformed(image, opened)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        warnings.append("its colour profile is damaged: ignored, colours may be off")
        return image.convert("RGB")


def _transformed(
    image: Image.Image, profile: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile
) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, _SRGB, outputMode="RGB")
    assert converted is not None  # it is None only when asked to work in place
    return converted
