"""The denoiser's objective against diffusers' own formulas, and its training."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionPipeline

from tasks.pretrain import denoiser, heard, layout, miniature, v_prediction, vae
from tasks.pretrain import tokenizer as tokenizers
from tasks.pretrain.latents import Latents, tokenise

TINY = denoiser.Params(
    channels=(32, 32),
    text_width=32,
    text_layers=1,
    max_train_steps=6,
    train_batch_size=4,
    warmup_steps=2,
    decay_from_step=4,
    unknown_share=0.3,
    checkpoint_every=2,
)
CAPTIONS = ["a red dog on the beach", "a photo of a cat", "a car", "a blue duck in the snow", "a house"]


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizers.build(sorted({word for caption in CAPTIONS for word in caption.split()}))


@pytest.fixture
def data(tokenizer, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "latents.npy", rng.standard_normal((5, 4, 8, 8)).astype(np.float16))
    np.save(tmp_path / "subjects.npy", rng.integers(0, 256, (5, 8, 8), np.uint8))
    np.save(tmp_path / "labels.npy", rng.integers(0, layout.COLOUR_LABELS, (5, 2, 64, 64), np.uint8))
    np.save(tmp_path / "tokens.npy", tokenise(tokenizer, CAPTIONS)[:, None])
    return Latents(tmp_path)


def weights(model) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def test_velocity_is_the_schedulers():
    scheduler = DDPMScheduler.from_config(miniature.make_scheduler().config)
    latents, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    timesteps = torch.tensor([0, 400, 998])
    own = v_prediction.velocity(latents, noise, scheduler.alphas_cumprod[timesteps])
    torch.testing.assert_close(own, scheduler.get_velocity(latents, noise, timesteps))


def test_the_schedule_ends_in_pure_noise():
    scheduler = DDIMScheduler.from_config(dict(miniature.make_scheduler().config))
    assert scheduler.alphas_cumprod[-1] == 0
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[0] == 999


def test_error_weights_are_min_snr_with_a_floor():
    ratio = torch.tensor([0.0, 0.1, 1.0, 5.0, 99.0])  # SNR
    found = v_prediction.error_weights(ratio / (ratio + 1), gamma=5.0, floor=0.2)
    torch.testing.assert_close(found, torch.tensor([0.2, 0.2, 1 / 2, 5 / 6, 0.2]))
    low = v_prediction.error_weights(ratio / (ratio + 1), gamma=5.0, floor=0.0)
    torch.testing.assert_close(low, ratio.clamp(max=5.0) / (ratio + 1))


def test_timesteps_cover_the_range_evenly():
    timesteps = v_prediction.spread_timesteps(np.random.default_rng(0), 10, 1000)
    assert sorted((timesteps // 100).tolist()) == list(range(10))


def test_captions_lose_all_words_or_gain_a_stranger(tokenizer):
    tokens = np.repeat(tokenise(tokenizer, CAPTIONS[:1]).astype(np.int64), 400, 0)
    drawn = (
        heard.Captions(tokenizer, empty_share=0.1, unknown_share=0.3)
        .draw(tokens, np.random.default_rng(0))
        .numpy()
    )
    empty = (drawn[:, 1:] == tokenizer.eos_token_id).all(1)
    same = (drawn == tokens).all(1)
    assert 20 < empty.sum() < 65 and 200 < same.sum() < 280
    rare = [tokenizers.token_of(tokenizer, word) for word in tokenizers.RARE]
    assert not np.isin(drawn, rare).any()
    for row in drawn[~empty & ~same]:
        kept = [token for token in row if token in tokens[0]]
        assert [token for token in kept if token != tokenizer.eos_token_id][1:] == list(tokens[0][1:7])
        assert row[0] == tokenizer.bos_token_id and row[-1] == tokenizer.eos_token_id


def test_resumed_training_equals_uninterrupted_and_rare_words_stay_untouched(data, tokenizer, tmp_path):
    whole = denoiser.train(data, tokenizer, tmp_path / "whole", TINY)
    denoiser.train(data, tokenizer, tmp_path / "cut", TINY, stop_at=3)
    resumed = denoiser.train(data, tokenizer, tmp_path / "cut", TINY)
    assert weights(resumed) == weights(whole)
    first = denoiser.Model(TINY, tokenizer, 4, 8)
    rare = [tokenizers.token_of(tokenizer, word) for word in tokenizers.RARE]
    tables = [m.text_encoder.get_input_embeddings().weight for m in (first, whole)]
    assert torch.equal(tables[0][rare], tables[1][rare])
    assert not torch.equal(tables[0], tables[1])


def test_the_assembled_folder_is_a_stock_pipeline(tokenizer, tmp_path):
    model = denoiser.Model(TINY, tokenizer, 4, 8)
    autoencoder = vae.build(vae.Params(channels=(8, 8, 8, 8), latent_channels=4), 64)
    parts = (autoencoder, tokenizer, model.text_encoder, model.denoiser, miniature.make_scheduler())
    miniature.assemble(tmp_path / "pipeline", *parts)
    miniature.assemble(tmp_path / "pipeline", *parts)  # over its old self
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    assert {p.dtype for p in pipeline.text_encoder.parameters()} == {torch.float32}
    generator = torch.Generator().manual_seed(0)
    picture = pipeline("a red dog", num_inference_steps=2, generator=generator).images[0]
    assert picture.size == (64, 64)
    texts = [p.read_text() for p in (tmp_path / "pipeline").rglob("*.json")]
    assert len(texts) >= 6 and not any(str(tmp_path) in text for text in texts)
