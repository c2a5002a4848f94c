"""What every backbone owes, on tiny models of each kind, with the stock diffusers pipeline as the reference."""

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from tasks.backbones.base import Conditioning, SampleOptions, open_base
from tasks.diffusion.samplers import SAMPLERS
from tasks.shared import plugins, prompts
from tasks.shared.settings import Base

KINDS = ("sd15", "sd21v", "sdxl")
PROMPTS, SEEDS = ["a dog", "a red vase", "a dog"], [1, 2, 3]


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tiny_base):
    return tiny_base(request.param)


@pytest.fixture(scope="module")
def backbone(folder):
    return open_base(Base(model=str(folder), revision="unpinned"), "cpu")


def test_the_kinds_cover_every_option(tiny_base):
    classes = {
        type(open_base(Base(model=str(tiny_base(k)), revision="unpinned"), "cpu")).__module__ for k in KINDS
    }
    assert classes == {f"tasks.backbones.{name}" for name in plugins.names("backbones")}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_are_those_of_the_stock_pipeline(folder, backbone, sampler):
    """Same prompt, seed and solver through diffusers' own pipeline call, one picture at a time."""
    options = SampleOptions(num_inference_steps=4, guidance_scale=3.0, scheduler=sampler)
    stock = DiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    stock.set_progress_bar_config(disable=True)
    stock.scheduler = SAMPLERS[sampler].from_config(stock.scheduler.config)
    expected = [
        stock(
            prompt, num_inference_steps=4, guidance_scale=3.0, height=32, width=32, output_type="np",
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        for prompt, seed in zip(PROMPTS, SEEDS, strict=True)
    ]  # fmt: skip
    ours = backbone.sample(PROMPTS, SEEDS, options, batch=2)
    assert ours.shape == (3, 32, 32, 3) and ours.dtype == np.uint8
    assert np.abs(np.stack(expected) * 255 - ours).max() < 0.51  # half a level: rounding


def test_a_picture_depends_on_its_own_prompt_and_seed_only(backbone):
    options = SampleOptions(num_inference_steps=3)
    together = backbone.sample(PROMPTS, SEEDS, options, batch=3)
    torch.rand(3)
    assert np.array_equal(backbone.sample(PROMPTS, SEEDS, options, batch=3), together)
    alone = backbone.sample(["a red vase"], [2], options, batch=3)[0]
    assert np.abs(alone.astype(int) - together[1]).max() <= 1
    assert not np.array_equal(together[0], together[2])


def test_each_distinct_prompt_is_encoded_once(backbone, monkeypatch):
    seen, plain = [], backbone.encode_prompts
    monkeypatch.setattr(
        backbone, "encode_prompts", lambda texts, *rest: seen.extend(texts) or plain(texts, *rest)
    )
    backbone.sample(["a dog"] * 5, list(range(5)), SampleOptions(num_inference_steps=1), batch=2)
    assert seen.count("a dog") == 1


def test_every_sample_option_changes_the_picture(backbone):
    plain = SampleOptions(num_inference_steps=4, guidance_scale=3.0, size_px=32)
    first = backbone.sample(["a dog"], [0], plain)
    for change in (
        {"num_inference_steps": 3},
        {"guidance_scale": 9.0},
        {"guidance_scale": 1.0},
        {"scheduler": "ddim"},
    ):
        assert not np.array_equal(backbone.sample(["a dog"], [0], plain.model_copy(update=change)), first), (
            change
        )
    assert backbone.sample(["a dog"], [0], plain.model_copy(update={"size_px": 16})).shape == (1, 16, 16, 3)
    coarse = backbone.sample(["a dog"], [0], plain.model_copy(update={"dtype": "bfloat16"}))
    assert 0 < np.abs(coarse.astype(int) - first).max() < 40


def test_latents_are_the_posteriors_in_the_denoisers_units(backbone):
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    posterior = backbone.vae.encode(pixels).latent_dist
    moments = backbone.encode_moments(pixels)
    assert torch.allclose(moments.mean, posterior.mean * 0.18215) and torch.allclose(
        moments.std, posterior.std * 0.18215
    )
    assert torch.equal(backbone.encode_images(pixels), moments.mean)
    drawn = backbone.encode_images(pixels, torch.Generator().manual_seed(1))
    noise = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(drawn, (posterior.mean + posterior.std * noise) * 0.18215, atol=1e-6)
    assert torch.allclose(
        backbone.decode(moments.mean), backbone.vae.decode(posterior.mean).sample, atol=1e-5
    )


def test_conditioning_rows_can_be_taken_and_joined(backbone):
    both = backbone.encode_prompts(["a dog", "a vase"])
    apart = Conditioning.cat([backbone.encode_prompts([text]) for text in ("a dog", "a vase")])
    swapped = both.rows([1, 0, 1])
    assert len(both) == 2 and len(swapped) == 3
    assert torch.allclose(both.prompt_embeds, apart.prompt_embeds, atol=1e-5)
    assert torch.equal(swapped.prompt_embeds[0], both.prompt_embeds[1])
    assert set(both.added) == set(apart.added)
    assert all(torch.allclose(both.added[key], apart.added[key], atol=1e-5) for key in both.added)


def test_everything_is_frozen_and_in_evaluation_mode(backbone):
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules.values())
    assert backbone.size_px == 32 and backbone.scale == 2


def test_words_that_the_tokenizer_spells_out_are_named(backbone):
    assert prompts.spelled_out(backbone.tokenizers[0], "sks dog") == []
    assert prompts.spelled_out(backbone.tokenizers[0], "sks zebra") == ["zebra"]
