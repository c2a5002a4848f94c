"""What every segmenter owes its caller; the folder is the table of the sweep."""

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.shared import plugins
from tasks.shared.errors import UserError

NAMES = plugins.names("segmenters")


@pytest.fixture(params=NAMES)
def module(request):
    return plugins.load("segmenters", request.param)


@pytest.fixture
def segmenter(module, tiny_sam):
    """The option with a tiny random checkpoint where it takes one."""
    takes = {"checkpoint": str(tiny_sam)} if "checkpoint" in module.Params.model_fields else {}
    return module.Segmenter(module.Params(**takes))


def photo(height: int, width: int) -> np.ndarray:
    """A disc on noise. uint8 [h w 3]"""
    pixels = np.random.default_rng(0).integers(90, 130, (height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    pixels[np.hypot(x - width / 2, y - height / 2) < min(height, width) / 3] = (220, 30, 20)
    return pixels


def test_the_sweep_covers_the_folder():
    assert {"sam", "whole_frame"} <= set(NAMES)
    assert "base" not in NAMES
    assert not any(name.startswith("_") for name in NAMES)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 90), (301, 77)])
def test_the_mask_is_boolean_and_of_the_photos_size(segmenter, height, width):
    found = segmenter.segment(photo(height, width))
    assert found.pixels.dtype == bool
    assert found.pixels.shape == (height, width)
    assert 0 <= found.score <= 1
    assert found.pixels.any() or found.reasons, "an empty mask without a reason"


def test_the_photo_is_left_as_it_was_and_the_answer_is_the_same_again(segmenter):
    image = photo(80, 60)
    before = image.copy()
    first = segmenter.segment(image)
    segmenter.segment(photo(33, 44))  # another photo in between leaves no trace
    again = segmenter.segment(image)
    assert np.array_equal(image, before)
    assert np.array_equal(first.pixels, again.pixels)
    assert first.score == again.score


@pytest.mark.parametrize(
    "image", [np.full((50, 70, 3), 128, np.uint8), photo(12, 80)], ids=["blank", "too small"]
)
def test_a_photo_of_nothing_has_an_empty_mask_and_a_reason(segmenter, image):
    found = segmenter.segment(image)
    assert not found.pixels.any()
    assert found.pixels.shape == image.shape[:2]
    assert found.score == 0
    assert found.reasons
    assert found.box is None


@pytest.mark.parametrize(
    "image",
    [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 4), np.uint8), np.zeros((50, 50, 3), np.float32)],
)
def test_what_is_no_picture_is_a_defect_of_the_caller(segmenter, image):
    with pytest.raises(ValueError, match="uint8"):
        segmenter.segment(image)


def test_params_refuse_what_they_do_not_know(module):
    with pytest.raises(ValidationError):
        module.Params(colour="red")
    if "checkpoint" in module.Params.model_fields:
        with pytest.raises(UserError, match="no such"):
            module.Segmenter(module.Params(checkpoint="nowhere"))


def test_the_docstring_names_its_source(module):
    assert "Source:" in module.__doc__
