"""The stage sample's batches against a loop of stock pipeline calls: same base, prompts, seeds and pictures.

    python -m bench.sampling                 # the project's base
    python -m bench.sampling --model FOLDER --prompts 10 --seeds 2 --rounds 5

Two loops to beat: one call for each prompt with all its seeds, and one call for each picture, as most scripts
have it. The three take turns in one process and the median round counts, so that other load hits all alike;
where the machine is busy, read the CPU seconds.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tasks.backbones.base import Backbone, SampleOptions, open_base
from tasks.diffusion import samplers
from tasks.sample import Params
from tasks.shared import settings

RESULT = Path(__file__).parent / "results" / "sampling.json"


def ours(
    backbone: Backbone, prompts: list[str], seeds: list[int], options: SampleOptions, batch: int
) -> np.ndarray:
    """What the stage does, the last batch filled up. [n h w 3] uint8"""
    pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
    padded = pairs + pairs[-1:] * (-len(pairs) % batch)
    texts, numbers = [prompt for prompt, _ in padded], [seed for _, seed in padded]
    return backbone.sample(texts, numbers, options, batch)[: len(pairs)]


def stock(
    backbone: Backbone, prompts: list[str], seeds: list[int], options: SampleOptions, at_once: int
) -> np.ndarray:
    """A loop of pipeline calls, `at_once` seeds of one prompt each. [n h w 3] uint8"""
    own, pictures = backbone.pipeline.scheduler, []
    backbone.pipeline.scheduler = samplers.make(options.scheduler, own.config)
    try:
        for prompt in prompts:
            for start in range(0, len(seeds), at_once):
                part = seeds[start : start + at_once]
                drawn = backbone.pipeline(
                    prompt,
                    num_images_per_prompt=len(part),
                    generator=[torch.Generator().manual_seed(seed) for seed in part],
                    num_inference_steps=options.num_inference_steps,
                    guidance_scale=options.guidance_scale,
                    height=options.size_px or backbone.size_px,
                    width=options.size_px or backbone.size_px,
                    output_type="np",
                ).images
                pictures.append((drawn * 255).round().astype(np.uint8))
    finally:
        backbone.pipeline.scheduler = own
    return np.concatenate(pictures)


def timed(draw: Callable[[], np.ndarray]) -> tuple[float, float, np.ndarray]:
    """Wall seconds, CPU seconds of this process, and the pictures."""
    wall, cpu = time.perf_counter(), time.process_time()
    pictures = draw()
    return time.perf_counter() - wall, time.process_time() - cpu, pictures


def main() -> None:
    """Measure, print and write bench/results/sampling.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="diffusers folder; default: base.model of params.yaml")
    parser.add_argument("--prompts", type=int, default=10, help="how many of sample.prompts")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, help="default: sample.num_inference_steps")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    project = settings.load(settings.find_project(Path.cwd()) / "params.yaml")
    base = settings.Base(model=str(args.model), revision="unpinned") if args.model else project.base
    options, backbone = project.section(Params, "sample"), open_base(base)
    options = options.model_copy(update={"num_inference_steps": args.steps or options.num_inference_steps})
    prompts = [text.replace("{subject}", "sks dog").replace("{class}", "dog") for text in options.prompts][
        : args.prompts
    ]
    seeds = list(range(args.seeds))
    ways: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: ours(backbone, prompts, seeds, options, options.batch_size),
        "stock_per_prompt": lambda: stock(backbone, prompts, seeds, options, len(seeds)),
        "stock_per_picture": lambda: stock(backbone, prompts, seeds, options, 1),
    }
    short = options.model_copy(update={"num_inference_steps": 1})
    ours(backbone, prompts[:1], seeds[:1], short, options.batch_size)  # first calls are slower
    stock(backbone, prompts[:1], seeds[:1], short, 1)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    pictures: dict[str, np.ndarray] = {}
    for _ in range(args.rounds):
        for name, draw in ways.items():
            wall, cpu, pictures[name] = timed(draw)
            times[name].append((wall, cpu))
    count = len(prompts) * len(seeds)
    result = {
        "pictures": count,
        "options": options.model_dump(mode="json", include=set(SampleOptions.model_fields) | {"batch_size"}),
        "size_px": options.size_px or backbone.size_px,
        "base": backbone.identity,
        "device": str(backbone.device),
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "threads": args.threads},
        "torch": torch.__version__,
        "rounds": args.rounds,
        "largest_difference": {
            name: int(np.abs(pictures[name].astype(int) - pictures["ours"]).max())
            for name in ways
            if name != "ours"
        },
    }
    for place, clock in enumerate(("wall_s", "cpu_s")):
        middle = {name: statistics.median(pair[place] for pair in pairs) for name, pairs in times.items()}
        result[clock] = {name: round(value, 2) for name, value in middle.items()}
        result[clock.replace("_s", "_ratio")] = {
            name: round(value / middle["ours"], 2) for name, value in middle.items() if name != "ours"
        }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
