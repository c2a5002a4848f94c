"""Prompts and pictures as the denoiser takes them, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """Encoded prompts, one row a prompt."""

    prompt_embeds: Tensor  # [b n d]
    added: Mapping[str, Tensor] = field(default_factory=dict)  # what else the denoiser takes, each [b ..]

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    def rows(self, index: Tensor | Sequence[int] | slice) -> "Conditioning":
        """Some of the rows, in the given order; a row may be taken more than once."""
        return Conditioning(
            self.prompt_embeds[index], {key: value[index] for key, value in self.added.items()}
        )

    def detach(self) -> "Conditioning":
        """The same rows, cut from the graph of the text encoder."""
        return Conditioning(
            self.prompt_embeds.detach(), {key: value.detach() for key, value in self.added.items()}
        )

    @staticmethod
    def cat(parts: Sequence["Conditioning"]) -> "Conditioning":
        """Rows of several encodings, one after the other."""
        added = {key: torch.cat([part.added[key] for part in parts]) for key in parts[0].added}
        return Conditioning(torch.cat([part.prompt_embeds for part in parts]), added)


@dataclass(frozen=True)
class Moments:
    """The VAE's posterior of some pictures, in the denoiser's units; `draw` is cheap, the encoder ran once."""

    mean: Tensor  # [b c h w]
    std: Tensor  # [b c h w]

    def rows(self, index: Tensor | Sequence[int]) -> "Moments":
        """Some of the rows."""
        return Moments(self.mean[index], self.std[index])

    def draw(self, generator: torch.Generator | None) -> Tensor:
        """A sample of the posterior; None: its mean. The numbers are drawn on the CPU. [b c h w]"""
        if generator is None:
            return self.mean
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype)
        return self.mean + self.std * noise.to(self.mean.device)
