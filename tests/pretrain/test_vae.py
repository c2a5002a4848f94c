"""The autoencoder's training and what it writes."""

import numpy as np
import pytest
import torch

from tasks.pretrain import textures, vae
from tasks.pretrain.renders import Renders

TINY = vae.Params(
    channels=(8, 8, 16, 16),
    latent_channels=4,
    max_train_steps=6,
    train_batch_size=8,
    crop_px=16,
    other_pool=6,
    warmup_steps=2,
    checkpoint_every=2,
    rescale_on=8,
)


@pytest.fixture
def renders(tmp_path):
    """A dozen pictures of nothing, in the form of a rendered split."""
    images = textures.pool(12, 32, seed=1)
    masks = np.zeros(images.shape[:3], np.uint8)
    masks[:, 8:24, 8:24] = 1
    for split in ("train", "heldout"):
        folder = tmp_path / "data" / split
        folder.mkdir(parents=True)
        np.save(folder / "images.npy", images)
        np.save(folder / "masks.npy", masks)
        np.save(folder / "parts.npy", masks)
        (folder / "scenes.jsonl").write_text('{"caption": "a dog"}\n' * 12)
        (folder / "manifest.json").write_text("{}")
    return Renders(tmp_path / "data" / "train")


def weights(model) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def test_resumed_training_equals_uninterrupted(renders, tmp_path):
    whole = vae.train(renders, tmp_path / "whole", TINY)
    vae.train(renders, tmp_path / "cut", TINY, stop_at=3)
    resumed = vae.train(renders, tmp_path / "cut", TINY)
    assert weights(resumed) == weights(whole)
    assert weights(whole) != weights(vae.build(TINY, 32))


def test_psnr_against_the_definition():
    pixels = torch.zeros(1, 3, 4, 4)
    recon = pixels + 0.2  # a tenth of the range: 20 dB
    assert vae.psnr(recon, pixels).item() == pytest.approx(20.0, abs=1e-4)
    where = torch.zeros(1, 1, 4, 4)
    where[..., 0] = 1
    recon[..., 1:] = 0.9
    assert vae.psnr(recon, pixels, where).item() == pytest.approx(20.0, abs=1e-4)


def test_run_writes_a_folder_that_diffusers_opens(renders, tmp_path):
    from diffusers import AutoencoderKL

    quality = vae.run(tmp_path / "data", tmp_path / "out", tmp_path / "work", TINY)
    assert set(quality) == {"psnr_db", "subject_psnr_db"}
    assert AutoencoderKL.from_pretrained(tmp_path / "out").config.scaling_factor == 1.0
