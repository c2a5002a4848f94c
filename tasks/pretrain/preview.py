"""A sheet of 64 pictures from a finished folder, to look at: every class, colour and setting, some views and styles.

python -m tasks.pretrain.preview --model data/miniature --out sheet.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tasks.toyworld.captions import CLASSES, COLOURS, SETTINGS, setting_phrase

TAILS = ["", "", "", " seen from the side", "", " seen from the front", "", " seen from behind"]


def prompts(count: int = 64) -> list[str]:
    """A fixed list in which classes, colours and settings turn at different speeds; one in eight names no setting."""
    made = []
    for number in range(count):
        turn = number // len(CLASSES)
        colour = COLOURS[(3 * number + turn) % len(COLOURS)]
        style = "a cartoon of" if number % 16 == 15 else "a sketch of" if number % 32 == 14 else "a photo of"
        name = (
            CLASSES[number % len(CLASSES)]
            if "sketch" in style
            else f"{colour} {CLASSES[number % len(CLASSES)]}"
        )
        article = "an" if name[0] in "aeiou" else "a"
        where = "" if number % 8 == 2 else " " + setting_phrase(SETTINGS[(7 * number + turn) % len(SETTINGS)])
        made.append(f"{style} {article} {name}{where}{TAILS[number % len(TAILS)]}")
    return made


def draw(
    model: Path, texts: list[str], seed: int = 0, num_inference_steps: int = 25, guidance_scale: float = 3.5
) -> list[Image.Image]:
    """One picture a prompt, through the stock pipeline."""
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    drawn: list[Image.Image] = []
    for start in range(0, len(texts), 16):
        part = texts[start : start + 16]
        generators = [torch.Generator().manual_seed(seed + start + k) for k in range(len(part))]
        settings = {"num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        drawn += pipeline(part, generator=generators, **settings).images
    return drawn


def sheet(pictures: list[Image.Image], columns: int = 8) -> Image.Image:
    """Pictures of one size side by side, row by row."""
    rows = [
        np.hstack([np.asarray(p) for p in pictures[i : i + columns]])
        for i in range(0, len(pictures), columns)
    ]
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    """Draw the sheet and print its prompts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    print("\n".join(prompts()))
    sheet(draw(given.model, prompts())).save(given.out)


if __name__ == "__main__":
    main()
