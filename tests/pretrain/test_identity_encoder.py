"""The identity judge: its loss and figures against brute force, its file format, and that training can be
interrupted.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModel

from tasks.pretrain import identity_encoder, identity_figures
from tasks.pretrain.renders import Renders

TINY = identity_encoder.Params(
    hidden_size=64, layers=1, size_px=32, watched=6, per_batch=6, views_per_batch=3, steps=4
)


def test_contrast_is_equation_two_summed_by_hand():
    generator = torch.Generator().manual_seed(0)
    embeddings = F.normalize(torch.randn(5, 8, generator=generator, dtype=torch.float64), dim=-1)
    owners, temperature = [4, 7, 4, 4, 9], 0.2
    terms = []
    for i, owner in enumerate(owners):
        others = [j for j in range(5) if j != i]
        positives = [j for j in others if owners[j] == owner]
        if not positives:
            continue  # 7 and 9 stand alone: no term
        total = sum(torch.exp(embeddings[i] @ embeddings[j] / temperature) for j in others)
        logs = [torch.log(torch.exp(embeddings[i] @ embeddings[p] / temperature) / total) for p in positives]
        terms.append(-sum(logs) / len(positives))
    found = identity_encoder.contrast(embeddings, torch.tensor(owners), temperature)
    assert found == pytest.approx(float(sum(terms) / 3), rel=1e-12)


def test_area_under_curve_counts_pairs_and_half_of_ties():
    same, other = torch.tensor([0.9, 0.5, 0.5]), torch.tensor([0.1, 0.5, 0.7, 0.95])
    wins = sum(float(a > b) + 0.5 * float(a == b) for a in same for b in other)
    assert identity_figures.area_under_curve(same, other) == pytest.approx(wins / 12)
    assert identity_figures.area_under_curve(torch.tensor([2.0, 3.0]), torch.tensor([1.0])) == 1.0


def test_figures_of_a_perfect_and_of_a_blind_judge():
    perfect = torch.eye(4)[:, None].expand(4, 6, 4)
    found = identity_figures.figures(perfect, ["dog", "dog", "cat", "cat"])
    assert found["identity_auc"] == 1
    assert found["identity_top1"] == 1
    assert found["classmate"] == 0
    blind = identity_figures.figures(torch.ones(4, 6, 4) / 2, ["dog", "dog", "cat", "cat"])
    assert blind["identity_auc"] == 0.5
    assert blind["identity_top1"] == 0.25


def test_a_batch_holds_several_pictures_of_each_of_its_individuals(world):
    split = Renders(world / "judge")
    people = identity_encoder.Individuals.of(split)
    assert len(people.identities) == 30
    pixels, owners, facts = identity_encoder.draw_batch(split, people, 24, np.random.default_rng(0), TINY)
    assert owners.max() < 24, "a watched individual was trained on"
    assert (torch.bincount(owners)[owners.unique()] == 3).all()
    assert pixels.shape == (len(owners), 3, 32, 32)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert len({people.identities[int(one)].cls for one in owners}) == 3
    assert facts["shape"].shape == (len(owners), 4)


def test_an_interrupted_training_ends_in_the_same_weights_and_opens_as_a_vit(world, tmp_path, monkeypatch):
    monkeypatch.setattr(identity_figures, "toybench_figures", lambda embed, size_px: {"identity_auc": 0.5})
    identity_encoder.train(world, tmp_path / "whole", tmp_path / "work1", TINY)
    identity_encoder.train(world, tmp_path / "parts", tmp_path / "work2", TINY, stop_at=2)
    assert not (tmp_path / "parts").exists()
    identity_encoder.train(world, tmp_path / "parts", tmp_path / "work2", TINY)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    start = identity_encoder.build(TINY).state_dict()["embeddings.cls_token"]
    assert not torch.equal(whole["embeddings.cls_token"], start.half()), "nothing was trained"

    judge = AutoModel.from_pretrained(tmp_path / "whole", add_pooling_layer=False)
    assert judge.dtype == torch.float32
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    pixels = AutoImageProcessor.from_pretrained(tmp_path / "whole")(images=[image], return_tensors="pt")[
        "pixel_values"
    ]
    token = judge(pixels).last_hidden_state[:, 0]
    expected = identity_encoder.embed(judge, (pixels + 1) / 2)
    torch.testing.assert_close(F.normalize(token, dim=-1), expected)
