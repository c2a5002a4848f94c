"""What every backbone offers: pixels and prompts in, a prediction of the denoiser out, and batched sampling.

An option is a module with `PIPELINE` (the diffusers class it drives) and `Backbone(pipeline, identity)`. `open_base` chooses it
by the class that the weights' own model_index.json names. Methods and stages know this contract and nothing of the option.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import diffusers
import numpy as np
import torch
import transformers
from diffusers import DiffusionPipeline
from pydantic import Field
from torch import Tensor, nn

from tasks.backbones import _weights
from tasks.backbones._encoded import Conditioning, Moments
from tasks.diffusion import samplers
from tasks.shared import memory, params, plugins
from tasks.shared.errors import UserError
from tasks.shared.settings import Base

digest_of = _weights.digest_of


class SampleOptions(params.Params):
    """How pictures are drawn from a base."""

    num_inference_steps: int = Field(default=25, ge=1, le=1000, description="calls of the denoiser a picture")
    guidance_scale: float = Field(
        default=5.0, ge=0, le=50, description="classifier-free guidance; 1 turns it off"
    )
    size_px: int | None = Field(
        default=None, ge=8, le=4096, description="side of the picture, px; null: native size"
    )
    scheduler: Literal["ddim", "dpmpp_2m", "euler"] = Field(default="dpmpp_2m", description="sampler")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="arithmetic of the denoiser")


class Backbone:
    """A stock diffusers pipeline with what training and sampling need of it.

    Frozen and in evaluation mode after construction; a method unfreezes what it trains.
    """

    def __init__(self, pipeline: Any, identity: Mapping[str, str]):
        self.pipeline, self.identity = pipeline, dict(identity)
        if self.vae.dtype != torch.float32:
            self.vae.to(dtype=torch.float32)  # in half precision SDXL's VAE overflows
        for module in self.modules.values():
            module.requires_grad_(False).eval()
        pipeline.set_progress_bar_config(disable=True)

    @property
    def denoiser(self) -> Any:
        """The U-Net: (noisy latents, timesteps, conditioning) -> noise or velocity."""
        return self.pipeline.unet

    @property
    def vae(self) -> Any:
        """Pixels <-> latents; frozen, always float32."""
        return self.pipeline.vae

    @property
    def text_encoders(self) -> dict[str, nn.Module]:
        """By their diffusers component names."""
        names = ("text_encoder", "text_encoder_2")
        return {name: module for name in names if (module := getattr(self.pipeline, name, None)) is not None}

    @property
    def tokenizers(self) -> list[Any]:
        """One for each text encoder."""
        return [
            t
            for name in ("tokenizer", "tokenizer_2")
            if (t := getattr(self.pipeline, name, None)) is not None
        ]

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Every network by its diffusers component name."""
        return {"unet": self.denoiser, "vae": self.vae, **self.text_encoders}

    @property
    def noise_scheduler(self) -> Any:
        """The checkpoint's own scheduler; its `prediction_type` says what the denoiser predicts."""
        return self.pipeline.scheduler

    @property
    def device(self) -> torch.device:
        """Where the denoiser lives."""
        return self.denoiser.device

    @property
    def scale(self) -> int:
        """Pixels along a side of one latent."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def size_px(self) -> int:
        """Side of the pictures that the base was trained on, px."""
        return int(self.denoiser.config.sample_size) * self.scale

    def to(self, device: torch.device | str) -> "Backbone":
        """Move every network."""
        for module in self.modules.values():
            module.to(device)
        return self

    def encode_moments(self, pixels: Tensor) -> Moments:
        """The posterior of pictures. pixels [b 3 h w] in [-1, 1]"""
        with torch.no_grad():
            posterior = self.vae.encode(pixels.to(self.vae.device, torch.float32)).latent_dist
        centre, spread = self._latent_units()
        return Moments((posterior.mean - centre) / spread, posterior.std / spread)

    def encode_images(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents of pictures: drawn from the posterior with `generator` (CPU), or its mean.

        Args:
            pixels: [b 3 h w] in [-1, 1]; h and w multiples of `scale`.
        Returns:
            [b c h/scale w/scale]
        """
        return self.encode_moments(pixels).draw(generator)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of latents. [b 3 h w] in [-1, 1], not clipped"""
        centre, spread = self._latent_units()
        return self.vae.decode(latents.float() * spread + centre, return_dict=False)[0]

    def encode_prompts(self, prompts: Sequence[str], size_px: int | None = None) -> Conditioning:
        """Encode prompts as the stock pipeline does; differentiable in the text encoders.

        Args:
            size_px: side of the pictures the conditioning is for; None: native. Only some bases look at it.
        """
        raise NotImplementedError

    def unconditional(self, size_px: int | None = None) -> Conditioning:
        """What guidance moves away from, as the stock pipeline has it without a negative prompt. One row."""
        return self.encode_prompts([""], size_px)

    def predict(self, noisy_latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's answer, in float32. [b c h w]

        Args:
            noisy_latents: [b c h w]
            timesteps: [b], integers
            conditioning: b rows
        """
        raise NotImplementedError

    def sample(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        options: SampleOptions | None = None,
        batch: int = 8,
    ) -> np.ndarray:
        """Draw one picture for each (prompt, seed). [n h w 3] uint8 sRGB

        Picture i depends on its prompt, its seed and the options; on the pictures beside it in the batch only through the
        rounding of floats. Each distinct prompt is encoded once.

        Args:
            prompts, seeds: equally many.
            batch: pictures at a time; guidance doubles the rows.
        """
        batches = list(self.sample_batches(prompts, seeds, options, batch))
        size = (options or SampleOptions()).size_px or self.size_px
        return np.concatenate(batches) if batches else np.zeros((0, size, size, 3), np.uint8)

    def sample_batches(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        options: SampleOptions | None = None,
        batch: int = 8,
    ) -> Iterator[np.ndarray]:
        """Like `sample`, a batch at a time, so that a caller can save and show progress. [<=batch h w 3] uint8

        Where memory does not reach for a batch, it is drawn in halves.
        """
        options = options or SampleOptions()
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds")
        if options.size_px and options.size_px % self.scale:
            raise UserError(
                f"size_px: {options.size_px} is no multiple of {self.scale}, the base's pixels per latent"
            )
        distinct = list(dict.fromkeys(prompts))
        with self._still():
            encoded = Conditioning.cat(
                [self.encode_prompts([text], options.size_px) for text in distinct or [""]]
            )
            unconditional = self.unconditional(options.size_px)
        for start in range(0, len(prompts), batch):
            wanted = list(zip(prompts[start : start + batch], seeds[start : start + batch]))

            def drawn(part: Sequence[tuple[str, int]]) -> np.ndarray:
                conditioning = encoded.rows([distinct.index(text) for text, _ in part])
                with self._still():
                    return self._draw(conditioning, unconditional, [seed for _, seed in part], options)

            yield np.concatenate(memory.in_halves(drawn, wanted))

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Nothing asks for a gradient inside, parameters in training neither: some kernels look at that and round otherwise, so
        that a model that is being trained would draw another last bit than the same one loaded from its file.
        """
        moving = [p for module in self.modules.values() for p in module.parameters() if p.requires_grad]
        for parameter in moving:
            parameter.requires_grad_(False)
        try:
            with torch.no_grad():
                yield
        finally:
            for parameter in moving:
                parameter.requires_grad_(True)

    def _draw(
        self,
        conditioning: Conditioning,
        unconditional: Conditioning,
        seeds: Sequence[int],
        options: SampleOptions,
    ) -> np.ndarray:
        size = (options.size_px or self.size_px) // self.scale
        shape = (1, self.denoiser.config.in_channels, size, size)
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        scheduler = samplers.make(options.scheduler, self.noise_scheduler.config)
        scheduler.set_timesteps(options.num_inference_steps, device=self.device)
        latents = torch.cat(noise).to(self.device) * scheduler.init_noise_sigma
        guided = options.guidance_scale != 1.0
        if guided:
            conditioning = Conditioning.cat([unconditional.rows([0] * len(seeds)), conditioning])
        half = (
            torch.autocast(self.device.type, torch.bfloat16) if options.dtype == "bfloat16" else nullcontext()
        )
        with half:
            for timestep in scheduler.timesteps:
                model_input = torch.cat([latents, latents]) if guided else latents
                model_input = scheduler.scale_model_input(model_input, timestep)
                output = self.predict(model_input, timestep.expand(len(model_input)), conditioning)
                if guided:
                    without, with_prompt = output.chunk(2)
                    output = without + options.guidance_scale * (with_prompt - without)
                latents = scheduler.step(output, timestep, latents, return_dict=False)[0]
            pixels = self.decode(latents).float()
        pixels = (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
        return (pixels * 255).round().to(torch.uint8).cpu().numpy()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of every network."""
        return chain.from_iterable(module.parameters() for module in self.modules.values())

    def _latent_units(self) -> tuple[float | Tensor, float | Tensor]:
        """Centre and spread of the VAE's own latents; the denoiser's are (latents - centre) / spread."""
        return 0.0, 1 / self.vae.config.scaling_factor


def open_base(base: Base, device: torch.device | str | None = None) -> Backbone:
    """Open the base model: a diffusers folder, a Hub id or one .safetensors file; never pickles, never remote code.

    Args:
        device: None: the accelerator if there is one, else the CPU.
    Raises:
        UserError: no such model, not the pinned one, or of a family that no file in tasks/backbones/ drives.
    """
    weights = _weights.locate(base)
    drivers = {module.PIPELINE.__name__: module for module in map(_driver, plugins.names("backbones"))}
    if weights.pipeline_class not in drivers:
        raise UserError(
            f"base.model: {weights.name} is a {weights.pipeline_class}; supported: {', '.join(sorted(drivers))}"
        )
    driver = drivers[weights.pipeline_class]
    pipeline = _load(driver.PIPELINE, weights.path, getattr(torch, base.dtype), driver.WITHOUT)
    backbone = driver.Backbone(pipeline, {"model": weights.name, "revision": weights.revision})
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return backbone.to(device or accelerator or "cpu")


def _driver(name: str) -> Any:
    return plugins.load("backbones", name)


def _load(
    pipeline_class: type[DiffusionPipeline], path: Path, dtype: torch.dtype, without: Mapping[str, Any]
) -> Any:
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()  # a model opens in seconds; its bars only hide our own lines
    try:
        if path.is_dir():
            return pipeline_class.from_pretrained(
                path, dtype=dtype, use_safetensors=True, local_files_only=True, **without
            )
        beside = path.with_suffix(
            ""
        )  # a folder of configurations without weights, for one-file models offline
        known = (
            {"config": str(beside), "local_files_only": True}
            if (beside / "model_index.json").is_file()
            else {}
        )
        return pipeline_class.from_single_file(str(path), torch_dtype=dtype, **known, **without)
    except Exception as error:  # diffusers and transformers raise a dozen kinds for a damaged folder
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = (
            ""
            if path.is_dir()
            else f"; offline, put its diffusers configuration into a folder {path.stem}/ beside it"
        )
        raise UserError(f"base.model: {path.name}: the weights cannot be opened ({reason}){hint}") from error
