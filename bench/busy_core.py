"""A training step of the base alone, and beside a process that keeps one core busy: `python -m bench.busy_core`.

With GNU OpenMP's own patience and with ours (tasks/__init__.py), in turns, each in a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import median

import torch

from bench import provenance
from tasks.backbones.base import open_base
from tasks.shared import settings

RESULT = Path(__file__).parent / "results" / "busy_core.json"
PATIENCE = {"of GNU OpenMP": "300000", "ours": os.environ.get("GOMP_SPINCOUNT", "")}
ROWS = 8


def steps(seconds: float) -> list[float]:
    """Seconds of each forward and backward pass through the denoiser, for so long."""
    backbone = open_base(settings.load(settings.find_project(Path.cwd()) / "params.yaml").base, "cpu")
    backbone.denoiser.requires_grad_(True)
    conditioning = backbone.encode_prompts(["a dog"] * ROWS)
    side, channels = backbone.size_px // backbone.scale, backbone.denoiser.config.in_channels
    latents, timesteps = torch.randn(ROWS, channels, side, side), torch.full((ROWS,), 500)
    took: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends or len(took) < 2:
        began = time.monotonic()
        backbone.predict(latents, timesteps, conditioning).square().mean().backward()
        took.append(time.monotonic() - began)
    return took[1:]  # the first makes room


def measured(patience: str, seconds: float) -> float:
    """Median of `steps` in a fresh process."""
    command = [sys.executable, "-m", "bench.busy_core", "--one", str(seconds)]
    environment = os.environ | {"GOMP_SPINCOUNT": patience}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return median(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def busy_core() -> Iterator[None]:
    """A process that never waits, of a session of its own as another program is: the kernel then gives each half of the cores."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()


NEIGHBOURS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "alone": nullcontext,
    "beside a busy core": busy_core,
}


def main() -> None:
    """Measure, print and write bench/results/busy_core.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each of the measurements")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(steps(given.one)))
        return
    found: dict[str, dict[str, list[float]]] = {who: {} for who in PATIENCE}
    for _ in range(given.rounds):
        for who, patience in PATIENCE.items():
            for beside, neighbour in NEIGHBOURS.items():
                with neighbour():
                    took = measured(patience, given.seconds)
                found[who].setdefault(beside, []).append(took)
                print(f"{who}, {beside}: {took:.2f} s a step", flush=True)
    result = {
        who: {beside: round(median(times), 3) for beside, times in cases.items()}
        for who, cases in found.items()
    }
    tree = provenance.of_tree(settings.find_project(Path.cwd()))
    told = {"seconds a step": result, "rows": ROWS, "rounds": given.rounds, **tree}
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
