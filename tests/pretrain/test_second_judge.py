"""The second judge: it opens as any text judge does, trains to the same bytes after an interruption, and is unlike the first."""

import numpy as np
import torch
from safetensors.torch import load_file

from tasks.metrics._judges import TextJudge
from tasks.pretrain import second_judge, tokenizer, two_towers
from tasks.toyworld.captions import full_vocabulary
from tasks.toyworld.identity import split_identities

TINY = second_judge.Params(
    widths=(8, 16), depths=(1, 1), text_width=64, text_layers=1, projection=16, batch=6, watched=30, steps=4
)


def test_an_interrupted_training_ends_in_the_same_weights_and_opens_as_a_text_judge(world, tmp_path):
    words = tmp_path / "tokenizer"
    tokenizer.build(full_vocabulary()).save_pretrained(words)
    given = world / "train", world / "heldout", words
    second_judge.train(*given, tmp_path / "whole", tmp_path / "work1", TINY)
    second_judge.train(*given, tmp_path / "parts", tmp_path / "work2", TINY, stop_at=2)
    assert not (tmp_path / "parts").exists()
    second_judge.train(*given, tmp_path / "parts", tmp_path / "work2", TINY)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    start = second_judge.build(TINY, tokenizer.build(full_vocabulary()), 32).state_dict()
    assert not torch.equal(whole["visual_projection.weight"], start["visual_projection.weight"].half())

    opened = TextJudge(str(tmp_path / "whole"))
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    pictures = two_towers.embed_images(opened.model, picture[None])
    np.testing.assert_allclose(opened.embed([picture]), pictures.numpy(), atol=1e-5)
    texts = ["a red dog on the beach", "a car"]
    with torch.inference_mode():
        expected = two_towers.embed_texts(opened.model, opened.tokenizer, texts)
    np.testing.assert_allclose(opened.embed_text(texts), expected.numpy(), atol=1e-5)


def test_its_individuals_are_nobody_elses():
    own = {one.seed for one in split_identities("second")}
    others = {one.seed for name in ("train", "judge", "toybench") for one in split_identities(name)}
    assert len(own) == 2000
    assert not own & others
