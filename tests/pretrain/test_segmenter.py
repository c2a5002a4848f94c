"""The segmenter's pictures, its losses, and that an interrupted training ends where an uninterrupted one
does.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from segment_anything import SamPredictor

from tasks.pretrain import segmenter, segmenter_figures, segmenter_pictures
from tasks.pretrain.segmenter_pictures import OBJECT, PART, WHOLE
from tasks.segmenters import _sam_checkpoint

TINY = segmenter.Params(
    size_px=32, embed_dim=40, depth=2, out_chans=32, batch=2, prompts=2, watched=10, steps=4
)


@pytest.fixture(scope="module")
def split(world):
    return segmenter_pictures.Renders(world / "train")


def test_a_render_names_part_object_and_shadow_at_every_pixel(split):
    picture = split.picture(0)
    on, shade = split.masks[0] == 1, (split.masks[0] == 0) & (split.shadows[0] == 1)
    assert (picture.levels[OBJECT][on] == 1).all()
    assert len(np.unique(picture.levels[PART][on])) == 2
    assert shade.any()
    assert (picture.levels[WHOLE][on | shade] == 1).all()
    assert (picture.levels[WHOLE] == 1).sum() == (on | shade).sum()
    assert not (picture.levels[OBJECT][shade] == 1).any()


@pytest.mark.parametrize("kind", ["render", "leaves", "pasted"])
def test_levels_are_nested(split, kind):
    rng = np.random.default_rng(3)
    for _ in range(5):
        picture = {
            "render": lambda: segmenter_pictures.drawn(split, rng, 0.0, np.arange(40)),
            "leaves": lambda: segmenter_pictures.dead_leaves(32, rng),
            "pasted": lambda: segmenter_pictures.pasted(split, 32, rng, np.arange(40)),
        }[kind]()
        assert picture.pixels.shape == (32, 32, 3)
        for finer, coarser in ((PART, OBJECT), (OBJECT, WHOLE)):
            pairs = np.unique(
                np.stack([picture.levels[finer].ravel(), picture.levels[coarser].ravel()]), axis=1
            )
            assert len(np.unique(pairs[0])) == pairs.shape[1], "one part lies in two objects"


def test_classes_kept_out_are_in_no_picture_that_is_trained_on(split):
    every = {one["class"] for scene in split.scenes for one in scene["objects"]}
    out = sorted(every)[0]
    among = split.without([out], 40)
    assert 0 < len(among) < 40
    assert all(one["class"] != out for number in among for one in split.scenes[number]["objects"])
    dropped = set(range(40)) - set(among.tolist())
    assert all(out in {one["class"] for one in split.scenes[number]["objects"]} for number in dropped)


def test_figures_tell_classes_that_were_kept_out_apart(split):
    sam, indices = segmenter.Student(TINY).sam.eval(), np.arange(20)
    every = {one["class"] for scene in split.scenes[:20] for one in scene["objects"]}
    out = sorted(every)[0]
    whole, apart = (segmenter_figures.figures(sam, split, indices, unseen) for unseen in ((), (out,)))
    assert set(apart) - set(whole) == {"segmenter_miou_point_unseen", "segmenter_miou_box_unseen"}
    counts = [
        sum(
            (one["class"] == out) == wanted
            and (split.masks[index] == number).sum() >= segmenter_figures.SMALLEST_PX
            for index in indices
            for number, one in enumerate(split.scenes[index]["objects"], start=1)
        )
        for wanted in (False, True)
    ]
    mean = np.average([apart["segmenter_miou_box"], apart["segmenter_miou_box_unseen"]], weights=counts)
    assert mean == pytest.approx(whole["segmenter_miou_box"], abs=2e-4)


def test_mask_errors_of_the_truth_and_of_its_opposite():
    truth = torch.zeros(1, 1, 8, 8)
    truth[..., :4] = 1
    entropy, dice, overlap = segmenter.mask_errors(40 * (truth - 0.5), truth)
    assert entropy < 1e-6
    assert dice < 1e-3
    assert overlap.item() == 1
    entropy, dice, overlap = segmenter.mask_errors(-40 * (truth - 0.5), truth)
    assert entropy > 19
    assert dice > 0.9
    assert overlap.item() == 0


def test_corrections_point_at_what_is_wrong():
    truth = torch.zeros(2, 8, 8)
    truth[0, 2, 5] = 1  # missing: one pixel
    guess = torch.full((2, 8, 8), -1.0)
    guess[1, 6, 1] = 1  # too much: one pixel
    points, labels = segmenter.corrections(guess, truth, 16, np.random.default_rng(0))
    assert points[:, 0].tolist() == [[11, 5], [3, 13]]  # x y at the pixel's middle, twice the mask's scale
    assert labels[:, 0].tolist() == [1, 0]


def test_jittered_boxes_stay_near_the_mask_and_in_the_picture():
    mask = np.zeros((32, 32), bool)
    mask[10:20, 0:20] = True
    for seed in range(20):
        x0, y0, x1, y1 = segmenter.jittered_box(mask, np.random.default_rng(seed)).tolist()
        assert 0 <= x0 <= 2
        assert 9 <= y0 <= 11
        assert 18 <= x1 <= 22
        assert 19 <= y1 <= 21


def test_an_interrupted_training_ends_in_the_same_weights(world, tmp_path):
    segmenter.train(world, tmp_path / "whole", tmp_path / "work1", TINY)
    segmenter.train(world, tmp_path / "parts", tmp_path / "work2", TINY, stop_at=2)
    assert not (tmp_path / "parts").exists()
    segmenter.train(world, tmp_path / "parts", tmp_path / "work2", TINY)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    start = segmenter.Student(TINY).sam.state_dict()
    assert not torch.equal(
        whole["mask_decoder.mask_tokens.weight"], start["mask_decoder.mask_tokens.weight"].half()
    )


def test_the_stock_predictor_takes_what_was_saved(tmp_path):
    _sam_checkpoint.save(segmenter.Student(TINY).sam, segmenter.config(TINY), tmp_path / "sam")
    predictor = SamPredictor(_sam_checkpoint.open(tmp_path / "sam"))
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8))
    masks, quality, logits = predictor.predict(np.array([[30.0, 20.0]]), np.array([1]))
    assert masks.shape == (3, 50, 70)
    assert quality.shape == (3,)
    assert logits.shape == (3, 16, 16)
    again, _, _ = predictor.predict(
        box=np.array([5.0, 5.0, 60.0, 40.0]), mask_input=logits[:1], multimask_output=False
    )
    assert again.shape == (1, 50, 70)
