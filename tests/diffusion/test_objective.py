"""The objective against diffusers' own functions and closed forms."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler
from diffusers.training_utils import compute_snr

from tasks.diffusion.objective import Draw, Objective, masked_mean
from tasks.shared.errors import UserError

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
STEPS = torch.tensor([0, 1, 250, 500, 998, 999])


def scheduler(kind: str = "epsilon", **options) -> DDPMScheduler:
    return DDPMScheduler(**SCHEDULE, prediction_type=kind, **options)


def drawn(generator: torch.Generator) -> tuple[torch.Tensor, Draw]:
    latents, noise = torch.randn(2, len(STEPS), 4, 3, 3, generator=generator)
    return latents, Draw(noise, STEPS)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_noise_and_target_are_those_of_diffusers(kind, generator):
    latents, draw = drawn(generator)
    stock, ours = scheduler(kind), Objective.of(scheduler(kind))
    assert torch.allclose(
        ours.add_noise(latents, draw), stock.add_noise(latents, draw.noise, STEPS), atol=1e-6
    )
    expected = draw.noise if kind == "epsilon" else stock.get_velocity(latents, draw.noise, STEPS)
    assert torch.allclose(ours.target(latents, draw), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_denoiser_that_knows_the_answer_has_no_error_and_a_wrong_one_its_square(kind, generator):
    latents, draw = drawn(generator)
    objective = Objective.of(scheduler(kind))
    answer = objective.target(latents, draw)
    assert objective.error(lambda *_: answer, latents, None, draw).max() == 0
    error = objective.error(lambda *_: answer + 0.5, latents, None, draw)
    assert error.shape == latents.shape and torch.allclose(error, torch.tensor(0.25), atol=1e-5)


def test_snr_is_that_of_diffusers():
    assert torch.allclose(
        Objective.of(scheduler()).snr(STEPS).float(), compute_snr(scheduler(), STEPS), rtol=1e-3
    )


@pytest.mark.parametrize(
    ("kind", "divisor"), [("epsilon", lambda snr: snr), ("v_prediction", lambda snr: snr + 1)]
)
def test_min_snr_weights_are_those_of_the_paper(kind, divisor):
    """Hang et al. 2023: min(snr, gamma) on the error of x0, which is snr times that of eps, snr + 1 times that of v."""
    snr = compute_snr(scheduler(), STEPS)
    expected = snr.clamp(max=5.0) / divisor(snr)
    assert torch.allclose(Objective.of(scheduler(kind), 5.0).weights(STEPS), expected, rtol=1e-3)


@pytest.mark.parametrize(("kind", "at_the_end"), [("epsilon", 1.0), ("v_prediction", 0.0)])
def test_weights_are_finite_where_the_last_step_has_no_signal(kind, at_the_end):
    objective = Objective.of(scheduler(kind, rescale_betas_zero_snr=True), 5.0)
    weights = objective.weights(torch.arange(1000))
    assert torch.isfinite(weights).all() and weights[-1] == pytest.approx(at_the_end, abs=1e-6)
    assert weights.min() >= 0 and weights.max() <= 1


def test_every_row_of_a_doubled_batch_is_weighted_by_its_own_timestep():
    """diffusers' DreamBooth scripts weigh class rows into photo rows (issue 5791); a class row's step must not matter here."""
    objective = Objective.of(scheduler(), 5.0)
    latents = torch.zeros(4, 4, 2, 2)
    predict = lambda *_: torch.ones(4, 4, 2, 2)  # noqa: E731

    def losses(class_steps: list[int]) -> torch.Tensor:
        draw = Draw(torch.zeros(4, 4, 2, 2), torch.tensor([10, 400, *class_steps]))
        return objective.row_losses(predict, latents, None, draw)

    assert torch.equal(losses([5, 900])[:2], losses([300, 20])[:2])
    assert torch.allclose(losses([5, 900]), objective.weights(torch.tensor([10, 400, 5, 900])))


def test_a_mask_counts_the_subject_only_and_its_size_does_not_matter():
    error = torch.zeros(2, 3, 4, 4)
    error[:, :, :2] = 2.0  # upper half
    masks = torch.zeros(2, 4, 4)
    masks[0, 0, 0], masks[1, :2] = 1.0, 1.0
    assert torch.equal(masked_mean(error, masks), torch.tensor([2.0, 2.0]))
    assert torch.equal(masked_mean(error, 1 - masks)[1], torch.tensor(0.0))
    assert torch.equal(masked_mean(error, None), error.mean(dim=(1, 2, 3)))
    assert masked_mean(error, torch.zeros(2, 4, 4)).tolist() == [0.0, 0.0]


def test_draws_depend_on_the_generator_only(generator):
    objective, latents = Objective.of(scheduler()), torch.zeros(64, 1, 1, 1)
    first = objective.draw(latents, generator)
    torch.rand(5)
    again = objective.draw(latents, torch.Generator().manual_seed(0))
    assert torch.equal(first.noise, again.noise) and torch.equal(first.timesteps, again.timesteps)
    assert first.timesteps.min() < 100 and first.timesteps.max() > 900


@pytest.mark.parametrize("sampler", [DDIMScheduler, EulerDiscreteScheduler])
def test_the_schedule_is_read_whatever_the_schedulers_class(sampler):
    assert torch.equal(
        Objective.of(sampler(**SCHEDULE)).alphas_cumprod, Objective.of(scheduler()).alphas_cumprod
    )


def test_an_unknown_prediction_type_is_refused():
    with pytest.raises(UserError, match="sample"):
        Objective.of(scheduler("sample"))
