"""The text judge: what is true of what, its loss, its figures, its file format, and that training can be
interrupted.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPProcessor

from tasks.pretrain import identity_encoder, judges, statements, tokenizer, two_towers
from tasks.toyworld.captions import SETTINGS, caption, full_vocabulary
from tasks.toyworld.dataset import describe
from tasks.toyworld.identity import split_identities
from tasks.toyworld.scene import STYLES, VIEWS, Camera, Placed, Scene

TINY = judges.Params(
    width=64, vision_layers=1, text_layers=1, patch_px=8, projection=32, batch=6, watched=30, steps=4
)
RED_DOG = {
    "setting": "beach",
    "view": "front",
    "style": "photo",
    "objects": [{"class": "dog", "colour": "red"}, {"class": "car", "colour": "blue"}],
}

ENCODER = identity_encoder.Params(hidden_size=64, layers=1, size_px=32, patch_px=8)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("a dog", {"is dog"}),
        ("a photo of a red dog and a car at the beach", {"as photo", "is red dog", "is car", "in beach"}),
        ("an image of a blue car seen from the front", {"as photo", "is blue car", "from front"}),
        ("a dog next to a blue car on a beach", {"is dog", "is blue car", "in beach"}),
    ],
)
def test_what_a_caption_says(text, facts):
    assert statements.said(text, RED_DOG) == facts
    assert facts <= statements.shown(RED_DOG)


def test_captions_and_short_texts_are_true_of_their_own_scene():
    rng = np.random.default_rng(0)
    pool = split_identities("judge")[:50]
    for number in range(200):
        things = tuple(Placed(pool[int(rng.integers(50))], 0, 0, 0, 1) for _ in range(1 + number % 2))
        place, style, view = (str(rng.choice(words)) for words in (SETTINGS, STYLES, VIEWS))
        scene = Scene(things, place, 0, 45, Camera((0, 1, 5), 0, 10, 2.5), style, view, seed=0)
        line = describe(scene, rng)
        assert statements.said(caption(scene, rng), line) <= statements.shown(line)
        _, facts = statements.short_text(line, rng)
        assert facts <= statements.shown(line)


def test_truth_reads_texts_as_rows():
    red, blue = (
        statements.shown({**RED_DOG, "objects": [{"class": "dog", "colour": c}]}) for c in ("red", "blue")
    )
    texts = [frozenset({"is dog"}), frozenset({"is red dog"})]
    assert statements.truth(texts, [red, blue]).tolist() == [[True, True], [True, False]]


def test_contrast_is_clips_loss_without_what_is_true_besides():
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    own = torch.arange(4)
    plain = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    torch.testing.assert_close(two_towers.contrast(scores, torch.eye(4, dtype=torch.bool)), plain)
    true = torch.eye(4, dtype=torch.bool)
    true[0, 3] = True  # text 0 also fits picture 3: their score must not matter
    other = scores.clone()
    other[0, 3] += 50
    torch.testing.assert_close(two_towers.contrast(scores, true), two_towers.contrast(other, true))
    assert two_towers.contrast(other, torch.eye(4, dtype=torch.bool)) > plain + 5


def test_the_image_tower_with_all_patches_is_clips_own(tmp_path):
    judge = judges.build(TINY, tokenizer.build(full_vocabulary()), 32).eval()
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = judge.vision_model(pixels * 2 - 1).pooler_output
    everything = torch.arange(17).expand(2, -1)
    torch.testing.assert_close(judges.image_tower(judge, pixels), expected)
    torch.testing.assert_close(judges.image_tower(judge, pixels, everything), expected)
    assert not torch.allclose(judges.image_tower(judge, pixels, everything[:, :9]), expected)


def test_the_image_tower_starts_alike_the_encoder_that_it_starts_from():
    torch.manual_seed(0)
    encoder = identity_encoder.build(ENCODER)
    torch.nn.init.normal_(encoder.embeddings.cls_token)
    torch.nn.init.normal_(encoder.embeddings.patch_embeddings.projection.bias)
    judge = judges.build(TINY, tokenizer.build(full_vocabulary()), 32)
    pixels = torch.rand(8, 3, 32, 32)
    pixels[:, 0] *= torch.linspace(0, 1, 8)[:, None, None]
    expected = identity_encoder.class_token(encoder, pixels)
    far = F.cosine_similarity(judges.image_tower(judge, pixels), expected).mean()
    judges.start_from(judge, encoder, pixels)
    near = F.cosine_similarity(judges.image_tower(judge, pixels), expected).mean()
    assert near > 0.9 > far


def test_an_interrupted_training_ends_in_the_same_weights_and_opens_as_a_clip(world, tmp_path):
    words = tmp_path / "tokenizer"
    tokenizer.build(full_vocabulary()).save_pretrained(words)
    identity_encoder.save(identity_encoder.build(ENCODER), encoder := tmp_path / "identity")
    judges.train(world, words, encoder, tmp_path / "whole", tmp_path / "work1", TINY)
    judges.train(world, words, encoder, tmp_path / "parts", tmp_path / "work2", TINY, stop_at=2)
    assert not (tmp_path / "parts").exists()
    judges.train(world, words, encoder, tmp_path / "parts", tmp_path / "work2", TINY)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    start = judges.build(TINY, tokenizer.build(full_vocabulary()), 32).state_dict()
    assert not torch.equal(whole["visual_projection.weight"], start["visual_projection.weight"].half())

    judge, processor = (
        CLIPModel.from_pretrained(tmp_path / "whole"),
        CLIPProcessor.from_pretrained(tmp_path / "whole"),
    )
    assert judge.dtype == torch.float32
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    texts = ["a red dog on the beach", "a car"]
    inputs = processor(text=texts, images=[image], padding=True, return_tensors="pt")
    outputs = judge(**inputs)
    pictures = two_towers.embed_images(judge, image[None])
    torch.testing.assert_close(outputs.image_embeds, pictures, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(outputs.text_embeds, two_towers.embed_texts(judge, processor.tokenizer, texts))
