"""Turning and stretching latents: nothing decodes differently, and what shows more is larger."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from tasks.pretrain import latent_scale, vae


@pytest.fixture
def model() -> AutoencoderKL:
    """Random weights, and one latent channel that the decoder hardly shows although it is the largest."""
    made = vae.build(vae.Params(channels=(8, 8, 16, 16), latent_channels=4), 32).eval()
    with torch.no_grad():
        made.quant_conv.weight[2] *= 30
        made.post_quant_conv.weight[:, 2] *= 1e-3
    return made


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_nothing_decodes_differently(model, pixels):
    before = vae.encode(model, pixels)
    recon = model.decode(before).sample
    latent_scale.rescale(model, before, emphasis=0.75)
    after = vae.encode(model, pixels)
    torch.testing.assert_close(model.decode(after).sample, recon, atol=1e-4, rtol=1e-4)
    flat = after.permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(4), atol=1e-3, rtol=0)
    covariance = torch.cov(flat)
    torch.testing.assert_close(covariance.trace(), torch.tensor(4.0), atol=0.02, rtol=0)
    assert (covariance - covariance.diag().diag()).abs().max() < 0.01
    assert (covariance.diag().diff() <= 1e-3).all()  # what shows most comes first


def test_posterior_noise_shows_as_much_as_before(model, pixels):
    before = model.encode(pixels).latent_dist

    def shown(posterior: torch.Tensor) -> float:
        metric = latent_scale.pixel_metric(model, vae.encode(model, pixels))
        return (posterior.var.detach().mean((0, 2, 3)).double() @ metric.diagonal()).item()

    first = shown(before)
    latent_scale.rescale(model, vae.encode(model, pixels), emphasis=0.5)
    assert shown(model.encode(pixels).latent_dist) == pytest.approx(first, rel=0.15)


def test_the_metric_of_a_linear_decoder_is_its_gram_matrix():
    weight = torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(1))

    class Linear:
        def decode(self, latents):
            return type("Output", (), {"sample": torch.nn.functional.conv2d(latents, weight)})

    latents = torch.randn(40, 2, 16, 16, generator=torch.Generator().manual_seed(2))
    flat = weight[:, :, 0, 0].double()
    found = latent_scale.pixel_metric(Linear(), latents)
    np.testing.assert_allclose(found, flat.T @ flat, rtol=0.05)


@pytest.mark.parametrize("emphasis", [0.0, 0.5, 1.0])
def test_spread_follows_what_is_shown(emphasis):
    metric, covariance = torch.diag(torch.tensor([1.0, 4.0, 9.0])).double(), torch.eye(3).double()
    turn = latent_scale.scaling_map(metric, covariance, emphasis)
    variances = (turn @ covariance @ turn.T).diagonal()
    wanted = torch.tensor([9.0, 4.0, 1.0]).double() ** emphasis
    torch.testing.assert_close(variances, wanted / wanted.mean(), rtol=1e-3, atol=1e-3)
