"""The miniature's text encoder and denoiser, trained together on encoded renders.

v-prediction under the schedule that ships with the model: `scheduler_config.json` is read, not repeated. The
subject counts more than its surroundings, one caption in ten is empty (for guidance), some carry a word
nobody knows (so that a user's odd word does no harm). The middle is asked what lies where, besides (see `layout`).
What ships is the moving average of the weights.

    python -m tasks.pretrain.denoiser --data data/toyworld --vae data/miniature/vae --out data/miniature --work <checkpoints>
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, SchedulerMixin
from diffusers.models.attention_processor import AttnProcessor
from pydantic import Field
from torch import Tensor, nn
from transformers import CLIPTokenizer

from tasks.pretrain import checkpoints, flags, layout, loop, miniature, v_prediction
from tasks.pretrain import tokenizer as tokenizers
from tasks.pretrain.devices import moved
from tasks.pretrain.heard import Captions
from tasks.pretrain.latents import Latents, write
from tasks.pretrain.parallel import Replicas
from tasks.pretrain.renders import Renders
from tasks.shared import params
from tasks.toyworld.captions import full_vocabulary


class Params(params.Params):
    """Size of the text encoder and denoiser and of their training."""

    channels: tuple[int, ...] = Field(
        default=(64, 128, 192), description="width of each level; every next one halves the side"
    )
    text_width: int = Field(default=192, description="hidden size of the text encoder")
    text_layers: int = Field(default=3, description="transformer layers of the text encoder")
    model_max_length: int = Field(default=32, description="tokens of a prompt, start and end included")
    max_train_steps: int = Field(default=10400, description="optimizer steps")
    train_batch_size: int = Field(default=16, description="pictures a step")
    replicas: int = Field(default=2, description="threads that share a step, a half of the pictures each")
    learning_rate: float = Field(default=1e-3, description="peak, of AdamW, for the denoiser")
    text_learning_rate: float = Field(
        default=2e-4,
        description="the same for the text encoder; as fast as the denoiser it forgets all words but class and setting",
    )
    warmup_steps: int = Field(default=200, description="steps of linear rise")
    decay_from_step: int = Field(
        default=4200, description="from here to the end the rate falls linearly to nothing"
    )
    weight_decay: float = Field(
        default=0.01, description="of matrices and kernels, times the learning rate each step"
    )
    max_grad_norm: float = Field(default=1.0, description="longest gradient")
    captions: int = Field(default=8, description="different captions a picture that training draws among")
    empty_share: float = Field(default=0.1, description="captions replaced by the empty one")
    unknown_share: float = Field(default=0.1, description="captions that get a random unknown word or mark")
    snr_gamma: float = Field(
        default=5.0, description="errors of x0 count by SNR up to this, and not more above"
    )
    snr_floor: float = Field(
        default=0.2,
        description="least weight of a v-error, so that high noise, which composes, is trained too",
    )
    subject_weight: float = Field(default=2.0, description="a latent that an object covers counts 1 + this")
    layout_weight: float = Field(
        default=0.03, description="of naming what lies where beside the squared error, per nat"
    )
    ema_decay: float = Field(default=0.999, description="of the moving average of the weights, per step")
    checkpoint_every: int = Field(default=250, description="steps")
    device: str = Field(
        default="cpu", description="where it is trained; cuda: one GPU, for which one replica does"
    )
    seed: int = Field(default=0, description="of weights, batches, timesteps and noise")


class Model(nn.Module):
    """Text encoder and denoiser as one thing to train."""

    def __init__(self, options: Params, tokenizer: CLIPTokenizer, latent_channels: int, size: int):
        super().__init__()
        torch.manual_seed(options.seed)
        self.text_encoder = miniature.make_text_encoder(tokenizer, options.text_width, options.text_layers)
        self.denoiser = miniature.make_denoiser(options.channels, latent_channels, size, options.text_width)
        if options.device == "cpu":
            self.denoiser.set_attn_processor(AttnProcessor())  # the fused one is slower at these sizes
        self.layout = layout.Head(options.channels[-1])
        self.denoiser.up_blocks[0].register_forward_hook(_keep_features)

    def forward(
        self, noisy_latents: Tensor, timesteps: Tensor, tokens: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Prediction of the target, and what lies where. [b c h w], [b], [b l] -> [b c h w], logits as `layout.Head`"""
        hidden = self.text_encoder(tokens).last_hidden_state
        predicted = self.denoiser(noisy_latents, timesteps, hidden).sample
        return predicted, self.layout(self.denoiser.up_blocks[0].features)


def _keep_features(block: nn.Module, _: tuple[Any, ...], output: Tensor) -> None:
    # On the block itself, not in a closure: a replica is a deep copy and must keep its own.
    block.features = output


def loss_terms(
    model: nn.Module,
    batch: tuple[Tensor, Tensor, Tensor, np.ndarray],
    captions: Captions,
    scheduler: SchedulerMixin,
    rng: np.random.Generator,
    options: Params,
) -> dict[str, Tensor]:
    """The weighted errors of one batch, as `Latents.batch` returns it, under timesteps and noise from `rng`."""
    latents, subjects, labels, tokens = batch
    timesteps = v_prediction.spread_timesteps(rng, len(latents), scheduler.config.num_train_timesteps)
    signal = scheduler.alphas_cumprod[timesteps].to(options.device)
    timesteps = timesteps.to(options.device)
    noise = torch.randn(
        latents.shape, generator=checkpoints.torch_draws(rng, options.device), device=options.device
    )
    noisy_latents = scheduler.add_noise(latents, noise, timesteps)
    predicted, named = model(noisy_latents, timesteps, moved(captions.draw(tokens, rng), options.device))
    by_velocity = scheduler.config.prediction_type == "v_prediction"
    target = v_prediction.velocity(latents, noise, signal) if by_velocity else noise
    where = 1 + options.subject_weight * subjects
    weight = (
        v_prediction.error_weights(signal, options.snr_gamma, options.snr_floor)[:, None, None, None]
        * where
        / where.mean()
    )
    return {
        "error": (weight * (predicted - target).square()).mean(),
        "layout": options.layout_weight * layout.error(named, labels, options.subject_weight),
    }


def make_optimizers(replicas: Replicas, options: Params) -> list[list[torch.optim.Optimizer]]:
    """AdamW for each thread's shard, slower for the text encoder.

    Embeddings and vectors are not decayed, so unspoken words keep their first values.
    """
    model: Any = replicas.modules[0]
    text = {id(p) for p in model.text_encoder.parameters()}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    made: list[list[torch.optim.Optimizer]] = []
    for shard in replicas.shards():
        groups: list[dict[str, Any]] = []
        for lr, of_text in ((options.learning_rate, False), (options.text_learning_rate, True)):
            own = [p for p in shard if (id(p) in text) == of_text]
            still = [p for p in own if p.ndim == 1 or id(p) in tables]
            decayed = [p for p in own if p.ndim > 1 and id(p) not in tables]
            groups += [
                {"params": decayed, "lr": lr, "weight_decay": options.weight_decay},
                {"params": still, "lr": lr, "weight_decay": 0.0},
            ]
        groups = [group for group in groups if group["params"]]
        made.append([torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)])
    return made


def rate(step: int, options: Params) -> float:
    """Factor on the learning rate at `step`: linear rise, plateau, linear fall."""
    left = (options.max_train_steps - step) / (options.max_train_steps - options.decay_from_step)
    return min(1.0, (step + 1) / options.warmup_steps, left)


class Average:
    """The moving average of a model's weights, updated by all threads."""

    def __init__(self, replicas: Replicas, decay: float):
        self.model: Any = copy.deepcopy(replicas.modules[0]).requires_grad_(False)
        self.replicas, self.decay = replicas, decay
        pairs = list(zip(self.model.parameters(), replicas.modules[0].parameters(), strict=True))
        self.parts = [pairs[number :: len(replicas)] for number in range(len(replicas))]

    def update(self, step: int) -> None:
        """Move towards the weights after `step` steps; faster at first, while they mean little."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))

        def move(number: int, _: nn.Module) -> None:
            averages, weights = zip(*self.parts[number], strict=True)
            with torch.no_grad():
                torch._foreach_lerp_(list(averages), [w.detach() for w in weights], share)

        self.replicas.each(move)


def train(
    data: Latents, tokenizer: CLIPTokenizer, work: Path, options: Params, stop_at: int | None = None
) -> Model:
    """Train, going on from the checkpoint in `work` if there is one; returns the averaged model.

    Args:
        stop_at: return after this step with the checkpoint written (tests interrupt a run with it).
    """
    _, channels, size, _ = data.latents.shape
    model = Model(options, tokenizer, channels, size).to(options.device)
    replicas = Replicas(model, options.replicas)
    average = Average(replicas, options.ema_decay)
    scheduler = miniature.make_scheduler()
    captions = Captions(tokenizer, options.empty_share, options.unknown_share)
    share = options.train_batch_size // options.replicas

    def losses(step: int, replica: int, module: nn.Module) -> dict[str, Tensor]:
        indices = checkpoints.indices_of_step(len(data), options.train_batch_size, step, options.seed)
        rng = checkpoints.draws(options.seed, step, replica)
        batch = data.batch(indices[replica * share : (replica + 1) * share], rng, options.device)
        return loss_terms(module, batch, captions, scheduler, rng, options)

    loop.run(
        replicas,
        make_optimizers(replicas, options),
        losses,
        rate=lambda step: rate(step, options),
        steps=options.max_train_steps,
        images_per_step=options.train_batch_size,
        checkpoint_every=options.checkpoint_every,
        keep={"model": model, "average": average.model},
        work=work,
        max_grad_norm=options.max_grad_norm,
        after_step=average.update,
        stop_at=stop_at,
    )
    return average.model.cpu().eval()


def run(data: Path, vae: Path, out: Path, work: Path, options: Params, stop_at: int | None = None) -> None:
    """Encode `data/train` once (kept in `work/latents`), train, write the whole pipeline to `out`.

    Args:
        vae: the trained autoencoder's folder.
    """
    autoencoder = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32)
    tokenizer = tokenizers.build(full_vocabulary(), options.model_max_length)
    if not (work / "latents" / "manifest.json").exists():
        write(
            Renders(data / "train"),
            autoencoder.to(options.device),
            tokenizer,
            work / "latents",
            captions=options.captions,
            seed=options.seed,
            threads=options.replicas,
            part=16 if options.device == "cpu" else 256,
        )
    model = train(Latents(work / "latents"), tokenizer, work, options, stop_at)
    autoencoder.to("cpu")
    miniature.assemble(
        out, autoencoder, tokenizer, model.text_encoder, model.denoiser, miniature.make_scheduler()
    )


def export(vae: Path, out: Path, work: Path, options: Params) -> None:
    """Write the pipeline as the last checkpoint in `work` has it, while training may still be going on."""
    autoencoder = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32)
    tokenizer = tokenizers.build(full_vocabulary(), options.model_max_length)
    model = Model(options, tokenizer, autoencoder.config.latent_channels, autoencoder.config.sample_size // 8)
    checkpoints.restore(work, {"average": model}, [])
    miniature.assemble(
        out, autoencoder, tokenizer, model.text_encoder, model.denoiser, miniature.make_scheduler()
    )


def main() -> None:
    """Command line of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("data", "vae", "out", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--stop_at", type=int, help="leave after this step; the same command goes on later")
    parser.add_argument(
        "--export", action="store_true", help="train nothing, write the last checkpoint's pipeline"
    )
    flags.add(parser, Params)
    given = parser.parse_args()
    if given.export:
        return export(given.vae, given.out, given.work, flags.read(given, Params))
    run(given.data, given.vae, given.out, given.work, flags.read(given, Params), given.stop_at)


if __name__ == "__main__":
    main()
