"""A crop holds all of its subject, whatever the photo's shape and wherever the subject is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.photos.contact_sheet import row, sheet
from tasks.photos.crop import cut, cut_mask, resized, square


@st.composite
def subjects(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """A photo's width and height, and a box in it."""
    width, height = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))


@settings(deadline=None)
@given(subjects(), st.floats(0, 2), st.sampled_from(["reflect", "edge"]))
def test_the_subject_is_never_cut_off(subject, margin: float, padding):
    (width, height), (x0, y0, x1, y1) = subject
    place = square((x0, y0, x1, y1), (width, height), margin)
    left, top, right, bottom = place.box
    assert right - left == bottom - top == place.side
    assert left <= x0 < x1 <= right
    assert top <= y0 < y1 <= bottom

    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    small = cut_mask(mask, place)
    assert small.shape == (place.side, place.side)
    assert small.sum() == mask.sum()

    rows, columns = np.mgrid[:height, :width]
    photo = np.stack([rows, columns, mask * 100], -1).astype(np.uint8)
    crop = cut(photo, place, padding)
    assert crop.shape == (place.side, place.side, 3)
    assert np.array_equal(crop[small], photo[mask])  # the very pixels, in place


@given(subjects(), st.floats(0, 2))
def test_a_crop_is_as_large_as_asked_and_leaves_the_photo_only_for_the_subject(subject, margin: float):
    (width, height), (x0, y0, x1, y1) = subject
    place = square((x0, y0, x1, y1), (width, height), margin)
    longer = max(x1 - x0, y1 - y0)
    wanted = round(longer * (1 + 2 * margin))
    assert place.side == min(wanted, width, height) or place.side == longer
    if longer <= min(width, height):
        left, top, right, bottom = place.box
        assert min(left, top) >= 0
        assert right <= width
        assert bottom <= height


def test_the_subject_is_in_the_middle_where_there_is_room():
    assert square((40, 50, 60, 60), (200, 100), 0.5).box == (30, 35, 70, 75)
    assert square((0, 50, 20, 60), (200, 100), 0.5).box == (0, 35, 40, 75)  # moved in from the left
    assert square((0, 0, 200, 100), (200, 100), 0.1).box == (0, -50, 200, 150)  # a wide subject: filled up


def test_beyond_the_frame_the_picture_is_mirrored_or_repeated_and_no_subject():
    photo = (
        np.arange(8, dtype=np.uint8).reshape(1, 8, 1).repeat(4, 0).repeat(3, 2).transpose(1, 0, 2)
    )  # [8 4 3]
    place = square((0, 0, 4, 8), (4, 8), 0)
    assert place.box == (-2, 0, 6, 8)
    wide = np.broadcast_to(np.arange(4, dtype=np.uint8)[None, :, None], (8, 4, 3))
    assert cut(wide, place, "reflect")[0, :, 0].tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert cut(wide, place, "edge")[0, :, 0].tolist() == [0, 0, 0, 1, 2, 3, 3, 3]
    assert cut_mask(np.ones((8, 4), bool), place)[0].tolist() == [False] * 2 + [True] * 4 + [False] * 2
    assert np.array_equal(cut(photo, place, "edge")[:, 2:6], photo)


@pytest.mark.parametrize("size_px", [16, 50, 64, 200])
def test_a_mask_keeps_its_place_at_any_size(size_px: int):
    mask = np.zeros((100, 100), bool)
    mask[20:60, 50:90] = True
    pixels, small = resized(np.zeros((100, 100, 3), np.uint8), mask, size_px)
    assert pixels.shape == (size_px, size_px, 3)
    assert small.dtype == bool
    rows, columns = np.flatnonzero(small.any(1)) / size_px, np.flatnonzero(small.any(0)) / size_px
    assert abs(rows[0] - 0.2) <= 1 / size_px
    assert abs(columns[0] - 0.5) <= 1 / size_px
    assert abs(small.mean() - 0.16) < 0.03


def test_a_thread_does_not_vanish_from_its_mask():
    mask = np.zeros((400, 400), bool)
    mask[:, 200] = True
    assert resized(np.zeros((400, 400, 3), np.uint8), mask, 16)[1].any()


def test_the_contact_sheet_marks_the_subject_and_keeps_the_photo():
    photo, mask = np.full((60, 80, 3), 100, np.uint8), np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    original = photo.copy()
    cells = row(photo, mask, (-10, 10, 60, 80), photo[:40, :40], 80)
    assert np.array_equal(photo, original)
    plain, marked, _ = cells
    assert np.array_equal(plain[10:70], photo)
    assert (plain[:10] == 255).all()
    assert marked[40, 40, 0] > 150  # tinted
    assert marked[30, 20].tolist() == [100, 100, 100]
    assert sheet([cells] * 3).shape == (3 * 80 + 2 * 4, 3 * 80 + 2 * 4, 3)
    assert sheet([cells] * 9).shape == (5 * 80 + 4 * 4, 6 * 80 + 5 * 4, 3)
