"""What the denoiser trains on, computed once: latents, where the subject is, what lies where, and captions as token numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTokenizer

from tasks.pretrain.devices import moved
from tasks.pretrain.layout import label_map
from tasks.pretrain.renders import Renders
from tasks.pretrain.vae import encode
from tasks.shared import folders


class Latents:
    """The encoded pictures of one split, memory-mapped.

    Attributes:
        latents: float16 [n c h w], of mean 0 per channel, deviation 1 over all
        subjects: uint8 [n h w], share of each latent's pixels that an object covers, 255 = all
        labels: uint8 [n questions s s], see `tasks.pretrain.layout`
        tokens: int16 [n k l], k captions a picture: start, words, end, padding
    """

    def __init__(self, folder: Path):
        self.latents = np.load(folder / "latents.npy", mmap_mode="r")
        self.subjects = np.load(folder / "subjects.npy", mmap_mode="r")
        self.labels = np.load(folder / "labels.npy", mmap_mode="r")
        self.tokens = np.load(folder / "tokens.npy")

    def __len__(self) -> int:
        return len(self.latents)

    def batch(
        self, indices: np.ndarray, rng: np.random.Generator, device: str = "cpu"
    ) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
        """latents float [b c h w], subjects 0..1 [b 1 h w], labels uint8 [b questions s s], one caption's tokens int64 [b l].

        All but the tokens on `device`.
        """
        latents, subjects, labels = (
            moved(torch.from_numpy(kept[indices]), device)
            for kept in (self.latents, self.subjects, self.labels)
        )
        spoken = self.tokens[indices, rng.integers(self.tokens.shape[1], size=len(indices))]
        return latents.float(), subjects[:, None].float() / 255, labels, spoken.astype(np.int64)


def tokenise(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> np.ndarray:
    """Captions as `StableDiffusionPipeline` pads and cuts them. int16 [n l]"""
    settings = {"padding": "max_length", "truncation": True, "max_length": tokenizer.model_max_length}
    return np.array(tokenizer(list(captions), **settings).input_ids, np.int16)


def write(
    renders: Renders,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    out: Path,
    *,
    captions: int,
    seed: int,
    threads: int = 2,
    part: int = 16,
) -> None:
    """Encode every render of a split into `out`.

    Args:
        captions: different ones per picture; training draws among them.
        seed: of those captions.
        threads: that encode side by side, each with one operator thread.
        part: pictures encoded at a time.
    """
    count, size = len(renders), renders.images.shape[1] // 8
    shape = (count, vae.config.latent_channels, size, size)
    with folders.staged(out) as fresh:
        parts = np.array_split(np.arange(count), max(1, count // 500))
        np.save(fresh / "labels.npy", np.concatenate([label_map(renders, part) for part in parts]))
        spoken = [tokenise(tokenizer, own) for own in zip(*renders.captions(captions, seed), strict=True)]
        np.save(fresh / "tokens.npy", np.stack(spoken, 1))
        latents = np.lib.format.open_memmap(fresh / "latents.npy", mode="w+", dtype=np.float16, shape=shape)
        subjects = np.lib.format.open_memmap(
            fresh / "subjects.npy", mode="w+", dtype=np.uint8, shape=(count, size, size)
        )

        def encode_part(start: int) -> None:
            indices = np.arange(start, min(start + part, count))
            pixels = renders.pixels(indices, vae.device).contiguous(memory_format=torch.channels_last)
            latents[indices] = encode(vae, pixels).numpy()
            covered = functional.avg_pool2d(renders.subjects(indices), 8)[:, 0]
            subjects[indices] = (covered * 255).round().byte().numpy()

        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done, _ in enumerate(pool.map(encode_part, range(0, count, part))):
                if done % 250 == 0:
                    print(f"encoded {done * part} of {count}", flush=True)
        (fresh / "manifest.json").write_text(json.dumps({"pictures": count}) + "\n")
