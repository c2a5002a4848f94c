"""Decode a file from anywhere into upright sRGB pixels, or say in words why not.

The header decides before any pixel is decoded: an allow-list of formats, a limit on promised pixels.
Nothing but the picture comes out: no EXIF, no place, no profile, no comment.
"""

import io
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.photos import colour

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
MOST_SCANS = 100
"""Of a progressive JPEG: encoders write about 10, a bomb thousands, each over the whole picture."""
OTHERS = {
    b"%PDF": "a PDF; export the picture in it as JPEG or PNG",
    b"PK\x03\x04": "an archive inside the source; ingest it by itself",
    b"Rar!": "a RAR archive; unpack it and ingest the folder",
    b"7z\xbc\xaf": "a 7z archive; unpack it and ingest the folder",
    b"8BPS": "a Photoshop file; export it as JPEG or PNG",
    b"\x00\x00\x00\x0cjP": "JPEG 2000; export it as JPEG or PNG",
}


class Unreadable(Exception):
    """The file gives no picture; the message says why, in words for its owner."""


@dataclass(frozen=True)
class Limits:
    """What is decoded at most, and what is worth decoding."""

    max_megapixels: float
    max_side_px: int
    min_side_px: int
    max_aspect: float


@dataclass(frozen=True)
class Picture:
    """A decoded photo."""

    image: Image.Image  # mode RGB, sRGB, upright, long side at most Limits.max_side_px
    size_px: tuple[int, int]  # width, height of the original, upright
    warnings: tuple[str, ...] = ()


def decode(data: bytes, limits: Limits) -> Picture:
    """Decode one file.

    Args:
        data: the whole file, from anybody.
    Raises:
        Unreadable: no picture, damaged, or outside the limits; nothing else, whatever the bytes are.
    """
    try:
        return _decode(data, limits)
    except Unreadable:
        raise
    except MemoryError as error:
        raise Unreadable("too large for this machine's memory") from error
    except Exception as error:  # Pillow raises a dozen types on damaged files, and none is ours to mend
        if "truncated" in str(error).lower():
            raise Unreadable("cut short: the file ends before the picture does; copy it again") from error
        raise Unreadable(f"damaged and cannot be decoded ({_plain(error)}); copy it again") from error


def _decode(data: bytes, limits: Limits) -> Picture:
    image = _open(data)
    width, height = image.size
    _check_size(width, height, limits)
    warnings = _about_frames(image)
    scale = min(1.0, limits.max_side_px / max(width, height))
    # a JPEG is decoded at 1/2, 1/4 or 1/8 where that suffices
    image.draft(None, (round(width * scale), round(height * scale)))
    image.load()
    if scale == 1:
        _check_size(*image.size, limits)  # a GIF's first frame may be larger than the header said
    profile = image.info.get("icc_profile")
    picture = colour.flattened(_upright(image, warnings), warnings)
    if max(picture.size) > limits.max_side_px:
        picture = ImageOps.contain(
            picture, (limits.max_side_px, limits.max_side_px), Image.Resampling.LANCZOS
        )
    if (picture.width > picture.height) != (width > height):
        width, height = height, width  # EXIF turned it
    return Picture(colour.to_srgb(picture, profile, warnings), (width, height), tuple(warnings))


def _open(data: bytes) -> Image.Image:
    """Read the header only."""
    formats = list(FORMATS)
    if data[4:8] == b"ftyp":
        _admit_heif(data[8:12], formats)
    scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 0  # never occurs within coded pixels
    if scans > MOST_SCANS:
        raise Unreadable(
            f"a JPEG of more than {MOST_SCANS} scans, as made to exhaust a decoder; save it anew"
        )
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise Unreadable("larger in pixels than can be decoded safely; scale it down") from error
    except UnidentifiedImageError as error:
        raise Unreadable(_what_it_is(data)) from error


def _admit_heif(brand: bytes, formats: list[str]) -> None:
    if brand in (b"avif", b"avis"):
        raise Unreadable("an AVIF picture; export it as JPEG or PNG")
    if brand not in HEIF_BRANDS:
        raise Unreadable("a video; take still pictures out of it")
    try:
        import pillow_heif
    except ImportError as error:
        raise Unreadable(
            "a HEIC photo and its reader is missing: `pip install pillow-heif`, or export it as JPEG"
        ) from error
    pillow_heif.register_heif_opener()
    formats.append("HEIF")


def _what_it_is(data: bytes) -> str:
    if not data:
        return "an empty file"
    for start, words in OTHERS.items():
        if data.startswith(start):
            return words
    if data.lstrip()[:5].lower() in (b"<?xml", b"<svg ", b"<!doc", b"<html"):
        return "a drawing or page in text form (SVG, HTML), not a photo"
    text = data[:1024]
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in text):
        return "text, whatever its name says"
    if data[:2] == b"\xff\xd8" or data[:4] in (b"\x89PNG", b"RIFF", b"GIF8"):
        return "damaged: its first bytes are a picture's, its header is not; copy it again"
    return f"not a picture in a format we read ({', '.join(FORMATS)})"


def _check_size(width: int, height: int, limits: Limits) -> None:
    megapixels = width * height / 1e6
    if megapixels > limits.max_megapixels:
        raise Unreadable(
            f"too large to decode: {width} x {height} px are {megapixels:,.0f} megapixels, "
            f"ingest.max_megapixels is {limits.max_megapixels:g}"
        )
    if min(width, height) < limits.min_side_px:
        raise Unreadable(f"too small: {width} x {height} px; ingest.min_side_px is {limits.min_side_px}")
    if max(width, height) > limits.max_aspect * min(width, height):
        raise Unreadable(
            f"too long and narrow: {width} x {height} px (ingest.max_aspect is {limits.max_aspect:g})"
        )


def _about_frames(image: Image.Image) -> list[str]:
    # MPO is a phone's JPEG with a depth map behind it
    if not getattr(image, "is_animated", False) or image.format == "MPO":
        return []
    image.seek(0)
    return ["several pages: first one used"] if image.format == "TIFF" else ["animated: first frame used"]


def _upright(image: Image.Image, warnings: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF is a format of its own, and as easily damaged
        warnings.append("its EXIF block is damaged, so it may lie on its side")
        return image


def _plain(error: Exception) -> str:
    """An exception's text on one line, short, with nothing that a terminal would obey."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    return text[:80].strip() or type(error).__name__
