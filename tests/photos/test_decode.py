"""The decoder gives the picture that a person sees, or a reason; whatever the bytes are."""

import contextlib
import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin

from tasks.photos.decode import Limits, Unreadable, decode

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

LIMITS = Limits(max_megapixels=10, max_side_px=300, min_side_px=32, max_aspect=4)
RED, GREEN, BLUE = (200, 20, 30), (30, 180, 40), (20, 40, 210)


def quarters(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Red, green / blue, white: tells every turn, mirror and colour mistake apart."""
    image, (width, height) = Image.new("RGB", size, "white"), size
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def coded(image: Image.Image, format: str = "PNG", **how) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **how)
    return file.getvalue()


def corners(image: Image.Image) -> list[tuple[int, int, int]]:
    """Colours near the four corners: left top, right top, left bottom, right bottom."""
    width, height = image.size
    at = [
        (width // 8, height // 8),
        (-width // 8, height // 8),
        (width // 8, -height // 8),
        (-width // 8, -height // 8),
    ]
    return [image.getpixel((x % width, y % height)) for x, y in at]


def assert_colours(image: Image.Image, expected: list[tuple[int, int, int]], tolerance: int = 3) -> None:
    assert image.mode == "RGB"
    off = np.abs(np.array(corners(image), int) - np.array(expected, int)).max()
    assert off <= tolerance, f"{corners(image)} instead of {expected}"


PLAIN = [RED, GREEN, BLUE, (255, 255, 255)]
FORMATS = [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {}),
           ("TIFF", {"compression": "tiff_lzw"}), ("JPEG", {"quality": 95, "progressive": True})]  # fmt: skip


@pytest.mark.parametrize(("format", "how"), FORMATS)
def test_reads_the_allowed_formats(format: str, how: dict):
    picture = decode(coded(quarters(), format, **how), LIMITS)
    assert_colours(picture.image, PLAIN)
    assert picture.size_px == (96, 64)
    assert picture.warnings == ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(format: str, orientation: int):
    """The stored picture is the upright one with the inverse turn, so all eight must come out equal."""
    inverse = {
        2: 0,
        3: 3,
        4: 1,
        5: 5,
        6: 2,
        7: 6,
        8: 4,
    }  # orientation -> Image.Transpose that undoes its correction
    stored = quarters() if orientation == 1 else quarters().transpose(Image.Transpose(inverse[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"quality": 95} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    picture = decode(coded(stored, format, exif=exif, **how), LIMITS)
    assert picture.image.size == picture.size_px == (96, 64)
    assert_colours(picture.image, PLAIN)


def test_nothing_of_the_metadata_is_left():
    exif = Image.Exif()
    exif[0x010F] = "Spy Camera"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # GPS latitude
    image = decode(coded(quarters(), "JPEG", exif=exif, comment=b"at home"), LIMITS).image
    again = Image.open(io.BytesIO(coded(Image.fromarray(np.asarray(image)))))
    again.load()
    assert dict(again.getexif()) == {}
    assert again.info == {}


def test_cmyk_looks_as_it_is_printed():
    for format in ("JPEG", "TIFF"):
        how = {"quality": 95} if format == "JPEG" else {}
        assert_colours(
            decode(coded(quarters().convert("CMYK"), format, **how), LIMITS).image, PLAIN, tolerance=6
        )


def test_sixteen_bits_keep_their_brightness():
    ramp = np.linspace(0, 65535, 96 * 64).reshape(64, 96).astype(np.uint16)
    for format in ("PNG", "TIFF"):
        pixels = np.asarray(decode(coded(Image.fromarray(ramp), format), LIMITS).image)
        assert np.abs(pixels[..., 0].astype(float) - ramp / 257).max() <= 1
        assert (pixels[..., 0] == pixels[..., 2]).all()


def test_floats_are_stretched_and_say_so():
    ramp = np.linspace(0, 1, 96 * 64, dtype=np.float32).reshape(64, 96)
    ramp[5, 5] = np.nan
    picture = decode(coded(Image.fromarray(ramp), "TIFF"), LIMITS)
    pixels = np.asarray(picture.image)
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert any("stretched" in warning for warning in picture.warnings)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey(mode: str):
    grey = Image.new("L", (64, 64), 0)
    grey.paste(255, (0, 0, 32, 64))
    assert corners(decode(coded(grey.convert(mode)), LIMITS).image) == [(255,) * 3, (0,) * 3] * 2


def test_palette():
    for palette in (quarters().quantize(8), quarters().convert("P")):
        assert_colours(
            decode(coded(palette), LIMITS).image, PLAIN, tolerance=60 if palette.mode == "P" else 3
        )
    assert_colours(decode(coded(quarters().quantize(8)), LIMITS).image, PLAIN)


def test_alpha_is_laid_on_white():
    image = quarters().convert("RGBA")
    image.putalpha(Image.new("L", (96, 64), 255))
    assert decode(coded(image), LIMITS).warnings == ()
    image.paste((*RED, 0), (0, 0, 48, 32))  # invisible red
    image.paste((*GREEN, 128), (48, 0, 96, 32))
    picture = decode(coded(image), LIMITS)
    half = tuple((color + 255) // 2 for color in GREEN)
    assert_colours(picture.image, [(255, 255, 255), half, BLUE, (255, 255, 255)])
    assert picture.warnings == ("partly transparent: laid on white",)


def test_transparent_palette_and_grey_with_alpha():
    grey = Image.new("LA", (64, 64), (90, 255))
    grey.paste((0, 0), (0, 0, 32, 64))
    assert corners(decode(coded(grey), LIMITS).image) == [(255,) * 3, (90,) * 3] * 2
    palette = quarters().quantize(8)
    red = palette.getpixel((10, 10))
    assert_colours(decode(coded(palette, transparency=red), LIMITS).image, [(255, 255, 255), *PLAIN[1:]])


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries are exchanged: red in the file is green to the eye."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_the_colour_profile_is_applied(format: str):
    how = {"quality": 95} if format == "JPEG" else {"lossless": True} if format == "WEBP" else {}
    image = Image.new("RGB", (64, 64), (255, 0, 0))
    picture = decode(coded(image, format, icc_profile=swapped_profile(), **how), LIMITS)
    red, green, blue = picture.image.getpixel((32, 32))
    assert green > 240
    assert red < 20
    assert blue < 20
    assert "icc_profile" not in picture.image.info or picture.image.info["icc_profile"] != swapped_profile()


def test_srgb_profile_changes_nothing_and_a_wrong_one_is_ignored():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert_colours(decode(coded(quarters(), icc_profile=srgb), LIMITS).image, PLAIN, tolerance=1)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile, word in ((lab, "another kind"), (b"nonsense" * 40, "damaged"), (srgb[:200], "damaged")):
        picture = decode(coded(quarters(), icc_profile=profile), LIMITS)
        assert_colours(picture.image, PLAIN)
        assert word in picture.warnings[0]


def test_lab_tiff():
    lab = ImageCms.profileToProfile(
        quarters(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert_colours(decode(coded(lab, "TIFF"), LIMITS).image, PLAIN, tolerance=6)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(format: str):
    how = {"lossless": True} if format == "WEBP" else {}
    others = [Image.new("RGB", (96, 64), color) for color in ("black", "yellow")]
    picture = decode(coded(quarters(), format, save_all=True, append_images=others, **how), LIMITS)
    assert_colours(picture.image, PLAIN, tolerance=40)
    assert picture.warnings == (
        "several pages: first one used" if format == "TIFF" else "animated: first frame used",
    )


def test_a_phones_depth_map_is_no_animation():
    picture = decode(coded(quarters(), "MPO", save_all=True, append_images=[quarters()]), LIMITS)
    assert picture.warnings == ()


def test_the_long_side_is_capped_and_jpeg_is_decoded_small():
    for format in ("PNG", "JPEG"):
        picture = decode(coded(quarters((1500, 1000)), format), LIMITS)
        assert picture.image.size == (300, 200)
        assert picture.size_px == (1500, 1000)
        assert_colours(picture.image, PLAIN, tolerance=6)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def many_scans() -> bytes:
    data = coded(quarters(), "JPEG", progressive=True)
    end = data.rindex(b"\xff\xda")
    return data[:end] + data[end:-2] * 200 + data[-2:]


REFUSED = {
    "empty": (b"", "empty file"),
    "text": (b"Dear diary,\nno photo here.\n" * 40, "text"),
    "svg": (b"<?xml version='1.0'?><svg width='1e9'/>", "drawing"),
    "pdf": (b"%PDF-1.7 ...", "PDF"),
    "noise": (bytes(range(256)) * 20, "not a picture in a format"),
    "truncated jpeg": (coded(quarters((200, 200)), "JPEG")[:-400], "cut short"),
    "truncated png": (coded(Image.effect_noise((200, 200), 90))[:-9000], "cut short"),
    "jpeg header only": (coded(quarters(), "JPEG")[:20], "damaged"),
    "bomb": (png_header(50_000, 50_000), "too large to decode|larger in pixels"),
    "small bomb": (png_header(5_000, 5_000), "ingest.max_megapixels"),
    "promises more than it holds": (png_header(1000, 1000), "cut short|damaged"),
    "1x1": (coded(Image.new("RGB", (1, 1))), "too small: 1 x 1"),
    "1x5000": (coded(Image.new("RGB", (1, 5000))), "too small: 1 x 5000"),
    "40x5000": (coded(Image.new("RGB", (40, 5000))), "too long and narrow"),
    "avif": (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + b"\0" * 100, "AVIF"),
    "video": (b"\0\0\0\x18ftypisom\0\0\0\0isom" + b"\0" * 100, "video"),
    "many scans": (many_scans(), "scans"),
    "other format that Pillow knows": (coded(quarters(), "TGA"), "not a picture in a format"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "text"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_with_a_reason(case: str):
    data, words = REFUSED[case]
    with pytest.raises(Unreadable, match=words) as refusal:
        decode(data, LIMITS)
    assert "\n" not in str(refusal.value)


def test_heic_without_its_plug_in_names_the_fix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if not installed
    with pytest.raises(Unreadable, match="pip install pillow-heif"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100, LIMITS)


def test_heic_is_read_where_its_plug_in_is_installed():
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    file = io.BytesIO()
    quarters().save(file, "HEIF", quality=95)
    assert_colours(decode(file.getvalue(), LIMITS).image, PLAIN, tolerance=12)


def test_damaged_exif_does_not_cost_the_photo():
    data = coded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 60)
    assert_colours(decode(data, LIMITS).image, PLAIN, tolerance=6)


SEEDS = [coded(quarters(), format, **how) for format, how in FORMATS] + [
    coded(quarters().quantize(8), "GIF", save_all=True, append_images=[quarters().quantize(4)]),
    coded(quarters(), "JPEG", icc_profile=swapped_profile(), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    coded(quarters(), "TIFF", tiffinfo=TiffImagePlugin.ImageFileDirectory_v2()),
]


@settings(max_examples=250, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 4_000)),
)
def test_any_bytes_give_a_picture_or_a_reason(seed: bytes, flips: list[tuple[int, int]], cut: int | None):
    data = bytearray(seed)
    for at, value in flips:
        data[at % min(len(data), 600)] = value  # headers are where decoders trip
    with contextlib.suppress(Unreadable):
        picture = decode(bytes(data[:cut]), LIMITS)
        assert picture.image.mode == "RGB"
        assert max(picture.image.size) <= LIMITS.max_side_px
