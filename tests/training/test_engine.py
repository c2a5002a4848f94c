"""The loop against a plain one written with diffusers' and torch's parts, and every option read back where it belongs."""

import importlib.util

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.optimization import get_scheduler
from diffusers.training_utils import compute_snr
from peft import LoraConfig

from tasks.backbones.base import open_base
from tasks.methods import base as methods
from tasks.methods import dreambooth
from tasks.methods._pictures import shuffled
from tasks.shared.errors import UserError
from tasks.shared.settings import Base
from tasks.training import optimizers
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Run, own_chance
from tasks.training.options import Params

QUIET = {"validation_steps": 0}
WORDS = {"subject": "sks dog", "class": "dog"}
TARGETS = ["to_k", "to_out.0", "to_q", "to_v"]


def pictures(count: int, seed: int, masked: bool = False) -> methods.Pictures:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return methods.Pictures(pixels, pixels[..., 0] > 100 if masked else None)


INSTANCE, PRIOR = pictures(3, 0), pictures(5, 1)


def run_of(
    tiny_base, tmp_path, options: Params, kind: str = "sd15", tuner: dict | None = None, masked: bool = False
) -> Run:
    backbone = open_base(Base(model=str(tiny_base(kind)), revision="unpinned"), "cpu")
    method = dreambooth.Method(
        dreambooth.Params(tuner=tuner or {"name": "lora", "rank": 2}, prior_loss_weight=0.7)
    )
    instance = pictures(3, 0, masked)
    material = methods.Material(
        instance, WORDS, PRIOR, options.train_batch_size, options.random_flip, options.seed
    )
    method.observe(backbone, material)
    return Run(method, backbone, options, Checkpoints(tmp_path, "key"))


EVERYTHING = Params(
    max_train_steps=4, train_batch_size=2, gradient_accumulation_steps=2, learning_rate=0.03, lr_scheduler="cosine",
    lr_warmup_steps=1, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6, weight_decay=0.2, max_grad_norm=0.05,
    snr_gamma=5.0, seed=3, **QUIET,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["sd15", "sd21v"])
def test_the_loop_does_what_a_plain_one_does(kind, tiny_base, tmp_path):
    """Independent: stock pipeline, add_noise, get_velocity, compute_snr, unfused AdamW; shared: order of pictures, generators."""
    run = run_of(tiny_base, tmp_path, EVERYTHING, kind)
    curve = run.train()

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base(kind))
    unet, scheduler = (
        pipeline.unet.requires_grad_(False),
        DDPMScheduler.from_config(pipeline.scheduler.config),
    )
    with own_chance(3, 0):
        unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=TARGETS, init_lora_weights="gaussian"))
    parameters = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.2, foreach=False, fused=False
    )
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=1, num_training_steps=4)
    with torch.no_grad():
        text = [pipeline.encode_prompt(t, "cpu", 1, False)[0] for t in ("a sks dog", "a dog")]
        scale = pipeline.vae.config.scaling_factor
        posteriors = [
            pipeline.vae.encode(torch.from_numpy(p.pixels).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist
            for p in (INSTANCE, PRIOR)
        ]
    losses = []
    for step in range(4):
        total = 0.0
        for number in (2 * step, 2 * step + 1):
            with own_chance(3, number + 1) as generator:
                latents = []
                for posterior, count in zip(posteriors, (3, 5), strict=True):
                    rows = shuffled(count, 2 * number, 2, 3)
                    chance = torch.randn(posterior.mean[rows].shape, generator=generator)
                    latents.append((posterior.mean[rows] + posterior.std[rows] * chance) * scale)
                latents = torch.cat(latents)
                noise = torch.randn(latents.shape, generator=generator)
                steps = torch.randint(0, 1000, (4,), generator=generator)
                states = torch.cat([text[0], text[0], text[1], text[1]])
                output = unet(scheduler.add_noise(latents, noise, steps), steps, states).sample
                if kind == "sd15":
                    error, divisor = output - noise, compute_snr(scheduler, steps)
                else:
                    error = output - scheduler.get_velocity(latents, noise, steps)
                    divisor = compute_snr(scheduler, steps) + 1
                weights = compute_snr(scheduler, steps).clamp(max=5.0) / divisor
                rows = error.square().mean(dim=(1, 2, 3)) * weights
                loss = (rows[:2].mean() + 0.7 * rows[2:].mean()) / 2
                loss.backward()
                total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(parameters, 0.05)
        optimizer.step(), schedule.step(), optimizer.zero_grad()
        losses.append(total)
    assert [row["loss"] for row in curve] == pytest.approx(losses, rel=1e-3)
    for ours, plain in zip(run.parameters, parameters, strict=True):
        assert torch.allclose(ours, plain, atol=2e-4)


def test_every_optimizer_option_is_read_back_distinct(tiny_base, tmp_path):
    group = run_of(
        tiny_base, tmp_path, EVERYTHING.model_copy(update={"lr_scheduler": "constant"})
    ).optimizer.param_groups[0]
    told = (group["lr"], group["betas"], group["eps"], group["weight_decay"])
    assert told == (0.03, (0.8, 0.95), 1e-6, 0.2)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.01}, {"adam_beta1": 0.5}, {"adam_beta2": 0.5}, {"adam_epsilon": 1e-3}, {"weight_decay": 1.0},
        {"max_grad_norm": 1e-4}, {"snr_gamma": 1.0}, {"ema_decay": 0.5}, {"seed": 4}, {"train_batch_size": 3},
        {"gradient_accumulation_steps": 1}, {"lr_scheduler": "linear"}, {"lr_warmup_steps": 2}, {"random_flip": True},
        {"mixed_precision": "bf16"}, {"optimizer": "prodigy"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_option_changes_what_is_learnt(change, tiny_base, tmp_path):
    first, other = (
        run_of(tiny_base, tmp_path, options) for options in (EVERYTHING, EVERYTHING.model_copy(update=change))
    )
    first.train(), other.train()
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters, other.parameters, strict=True))
    assert all(
        parameter.dtype == torch.float32 and torch.isfinite(parameter).all() for parameter in other.parameters
    )


def test_the_mask_changes_what_is_learnt(tiny_base, tmp_path):
    plain, masked = (run_of(tiny_base, tmp_path, EVERYTHING, masked=masked) for masked in (False, True))
    assert plain.train()[0]["instance"] != masked.train()[0]["instance"]


@pytest.mark.parametrize(
    "tuner", [{"name": "lora", "rank": 2, "text_encoder": True}, {"name": "full", "text_encoder": True}]
)
def test_gradient_checkpointing_changes_memory_and_no_loss(tuner, tiny_base, tmp_path):
    plain = run_of(tiny_base, tmp_path, EVERYTHING, tuner=tuner).train()
    saving = run_of(
        tiny_base, tmp_path, EVERYTHING.model_copy(update={"gradient_checkpointing": True}), tuner=tuner
    )
    assert saving.backbone.denoiser.is_gradient_checkpointing
    assert [row["loss"] for row in saving.train()] == pytest.approx([row["loss"] for row in plain], rel=1e-5)
    assert not saving.backbone.denoiser.is_gradient_checkpointing


def test_text_encoders_get_gradients_when_they_train(tiny_base, tmp_path):
    run = run_of(tiny_base, tmp_path, EVERYTHING, "sdxl", {"name": "lora", "rank": 2, "text_encoder": True})
    for name, encoder in run.backbone.text_encoders.items():
        moving = [p for p in encoder.parameters() if p.requires_grad]
        before = [p.detach().clone() for p in moving]
        run.text_before = getattr(run, "text_before", {}) | {name: (moving, before)}
    run.train()
    for moving, before in run.text_before.values():
        assert moving and any(not torch.equal(a, b) for a, b in zip(moving, before, strict=True))


def test_looks_on_the_way_use_fixed_draws_and_change_nothing(tiny_base, tmp_path):
    seen = []
    watched = run_of(
        tiny_base, tmp_path, EVERYTHING.model_copy(update={"validation_steps": 2, "learning_rate": 1e-9})
    )

    def watch(step: int) -> dict[str, float]:
        seen.append(step)
        return {"dino": step / 10}

    curve = watched.train(watch)
    assert seen == [2, 4]
    assert [row.get("dino") for row in curve] == [None, 0.2, None, 0.4]
    assert curve[1]["held_instance"] == pytest.approx(curve[3]["held_instance"], rel=1e-4)
    assert "held_instance" not in curve[0]
    plain = run_of(tiny_base, tmp_path, EVERYTHING.model_copy(update={"learning_rate": 1e-9}))
    plain.train()
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters, plain.parameters, strict=True))


def test_the_average_is_the_one_of_the_formula():
    parameter = torch.nn.Parameter(torch.zeros(1))
    average = optimizers.Average([parameter], 0.15)
    with torch.no_grad():
        parameter.fill_(1.0)
    average.update([parameter])  # decay min(.15, 1/10) = .1
    assert average.values[0].item() == pytest.approx(0.9)
    average.update([parameter])  # decay min(.15, 2/11) = .15
    assert average.values[0].item() == pytest.approx(0.9 + 0.85 * 0.1)
    with average.applied([parameter]):
        assert parameter.item() == pytest.approx(0.985)
    assert parameter.item() == 1.0


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_an_optimizer_that_is_not_installed_says_what_to_install(tiny_base, tmp_path):
    with pytest.raises(UserError, match="pip install bitsandbytes"):
        run_of(tiny_base, tmp_path, EVERYTHING.model_copy(update={"optimizer": "adamw8bit"}))


def test_pictures_come_equally_often_and_the_order_can_be_entered_anywhere():
    rows = shuffled(5, 0, 40, seed=1)
    assert sorted(rows[:5]) == sorted(rows[5:10]) == [0, 1, 2, 3, 4] and rows[:5] != rows[5:10]
    assert shuffled(5, 13, 9, seed=1) == rows[13:22]
    assert shuffled(5, 0, 40, seed=2) != rows


def test_a_method_without_parameters_is_not_looped(tiny_base, tmp_path):
    class Nothing(methods.Method):
        pass

    backbone = open_base(Base(model=str(tiny_base("sd15")), revision="unpinned"), "cpu")
    assert Run(Nothing(EVERYTHING), backbone, EVERYTHING, Checkpoints(tmp_path, "key")).train() == []


def test_checkpoints_keep_two_and_pass_over_damage(tmp_path, caplog):
    kept = Checkpoints(tmp_path, "a" * 40)
    for step in (1, 2, 3):
        kept.save(step, {"parameters": [torch.full((2,), float(step))]})
    names = sorted(path.name[:12] for path in kept.folder.glob("*.pt"))
    assert names == ["step_0000002", "step_0000003"]
    assert kept.load(torch.device("cpu"))["step"] == 3
    newest = max(kept.folder.glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:50])
    assert kept.load(torch.device("cpu"))["step"] == 2 and "damaged" in caplog.text
    assert Checkpoints(tmp_path, "b" * 40).load(torch.device("cpu")) is None
    next(kept.folder.glob("*.pt")).write_bytes(b"")
    assert kept.load(torch.device("cpu")) is None
    kept.remove()
    assert not tmp_path.exists()
