"""fine_tune against diffusers' own train_dreambooth_lora.py: images per second, and the same losses on the same draws.

    python -m bench.fine_tune_vs_diffusers --script path/to/train_dreambooth_lora.py

The script is diffusers' `examples/dreambooth/train_dreambooth_lora.py` (not part of the package: fetch it). Both train LoRA of
one rank on the attention of one base from the same pictures, with prior preservation, at one batch size and precision. Speed is
the difference between a long and a short whole run, so that start-up counts for neither; runs alternate. For the losses, each
side starts from the same adapter and sees the same noise and timesteps, and both take the VAE's mean.
"""

import argparse
import json
import os
import platform
import runpy
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tasks.shared import images, manifest, params
from tasks.shared.settings import find_project

RESULT = Path(__file__).parent / "results" / "fine_tune_vs_diffusers.json"
RANK, BATCH, LEARNING_RATE, PROMPTS = 8, 4, 1e-3, ("a sks dog", "a dog")


def write_inputs(work: Path, size_px: int, photos: int, class_pictures: int, copies: int = 1) -> None:
    """Folders of pictures for the script, and the same pictures as finished stages for us."""
    rng = np.random.default_rng(0)
    for name, count in (("segment/images", photos), ("class_prior", class_pictures)):
        for index in range(count):
            soft = images.resize(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), size_px)
            for copy in range(copies):
                for folder in (work / name, work / "theirs" / name):
                    images.save(folder / f"{index * copies + copy:04d}.png", soft)
    manifest.write(work / "segment", "segment", 1, size_px=size_px)
    manifest.write(work / "class_prior", "class_prior", 1, base={}, **{"class": "dog"})
    (work / "subject.yaml").write_text("name: bench\nclass: dog\nclass_folder: dog\n")


def write_params(work: Path, base: Path, steps: int) -> None:
    """params.yaml with what the script does by default, and nothing on the way."""
    tree = params.read_yaml(find_project(Path.cwd()) / "params.yaml")
    tree["base"] = {"model": str(base), "revision": "unpinned", "dtype": "float32"}
    tree["fine_tune"] |= {
        "max_train_steps": steps, "train_batch_size": BATCH, "learning_rate": LEARNING_RATE, "validation_steps": 0,
        "lr_scheduler": "constant", "snr_gamma": None, "mixed_precision": "fp32", "optimizer": "adamw",
    }  # fmt: skip
    tree["machine"]["checkpoint_steps"] = 0
    tree["methods"]["dreambooth"] |= {"tuner": {"name": "lora", "rank": RANK}, "prior_loss_weight": 1.0}
    (work / "params.yaml").write_text(json.dumps(tree))


def our_arguments(work: Path) -> list[str]:
    """Flags of the stage `fine_tune`."""
    flags = {"segment": "segment", "prior": "class_prior", "out": "ours", "params": "params.yaml"}
    return [f"--{key}={work / name}" for key, name in (flags | {"subject": "subject.yaml"}).items()]


def their_arguments(work: Path, base: Path, size_px: int, steps: int, class_pictures: int) -> list[str]:
    """Flags of the script that mean the same."""
    values = {
        "pretrained_model_name_or_path": base, "instance_data_dir": work / "theirs" / "segment" / "images",
        "class_data_dir": work / "theirs" / "class_prior", "num_class_images": class_pictures,
        "instance_prompt": PROMPTS[0], "class_prompt": PROMPTS[1], "resolution": size_px, "rank": RANK,
        "train_batch_size": BATCH, "max_train_steps": steps, "learning_rate": LEARNING_RATE, "seed": 0,
        "output_dir": work / "theirs" / "out", "lr_scheduler": "constant", "lr_warmup_steps": 0, "checkpointing_steps": 10**6,
    }  # fmt: skip
    return ["--with_prior_preservation", *(f"--{key}={value}" for key, value in values.items())]


def seconds(command: list[str]) -> float:
    """Wall time of a whole process."""
    began = time.monotonic()
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stderr[-3000:]}")
    return time.monotonic() - began


def compare_speed(
    script: Path, base: Path, size_px: int, work: Path, steps: tuple[int, int], rounds: int
) -> dict:
    """Seconds a step of each side, round by round, and the median ratio."""
    write_inputs(work, size_px, photos=5, class_pictures=48)
    per_step: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for side in per_step:
            took = []
            for count in steps:
                write_params(work, base, count)
                command = [sys.executable, "-m", "tasks.fine_tune", *our_arguments(work)]
                if side == "theirs":
                    command = [sys.executable, str(script), *their_arguments(work, base, size_px, count, 48)]
                took.append(seconds(command))
            per_step[side].append((took[1] - took[0]) / (steps[1] - steps[0]))
    ratios = [theirs / ours for ours, theirs in zip(per_step["ours"], per_step["theirs"], strict=True)]
    rates = {side: round(2 * BATCH / statistics.median(values), 2) for side, values in per_step.items()}
    return {"images_per_second": rates, "ratio": round(statistics.median(ratios), 3), "ratios": ratios}


def compare_losses(script: Path, base: Path, size_px: int, work: Path, steps: int) -> dict:
    """The largest difference between the two loss curves."""
    # one picture as often as a batch is large: the order in which they come cannot matter
    write_inputs(work, size_px, photos=1, class_pictures=1, copies=BATCH)
    write_params(work, base, steps)
    curves = {}
    for side in ("ours", "theirs"):
        arguments = (
            our_arguments(work) if side == "ours" else their_arguments(work, base, size_px, steps, BATCH)
        )
        seconds([sys.executable, "-m", __spec__.name, "--child", side, str(script), str(work), *arguments])
        curves[side] = json.loads((work / f"{side}.json").read_text())
    differences = [abs(a - b) for a, b in zip(curves["ours"], curves["theirs"], strict=True)]
    return {"steps": steps, "largest_difference": max(differences), **curves}


def child(side: str, script: Path, work: Path, arguments: list[str]) -> None:
    """Run one side with its chance recorded (ours) or replayed (theirs), and write its losses."""
    import torch
    from diffusers import UNet2DConditionModel
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    from tasks import fine_tune
    from tasks.backbones.base import Moments
    from tasks.diffusion.objective import Objective
    from tasks.training.engine import own_chance

    add_adapter, draw = UNet2DConditionModel.add_adapter, Objective.draw
    draws: list[dict[str, torch.Tensor]] = []

    def seeded_adapter(self: Any, *args: Any, **kwargs: Any) -> None:
        with own_chance(0, 0):
            add_adapter(self, *args, **kwargs)

    def recorded(self: Objective, latents: torch.Tensor, generator: torch.Generator) -> Any:
        drawn = draw(self, latents, generator)
        draws.append({"noise": drawn.noise, "timesteps": drawn.timesteps})
        return drawn

    sys.argv = ["fine_tune", *arguments]
    with mock.patch.object(UNet2DConditionModel, "add_adapter", seeded_adapter):
        if side == "ours":
            with (
                mock.patch.object(Objective, "draw", recorded),
                mock.patch.object(Moments, "draw", lambda m, _: m.mean),
            ):
                fine_tune.cli.main(fine_tune.run)
            torch.save(draws, work / "draws.pt")
            losses = [row["loss"] for row in json.loads((work / "ours" / "curve.json").read_text())]
        else:
            losses = []
            replay = iter(torch.load(work / "draws.pt", weights_only=True))
            current: dict[str, torch.Tensor] = {}

            def noise(_: torch.Tensor) -> torch.Tensor:
                current.update(next(replay))
                return current["noise"]

            def timesteps(*_: Any, **__: Any) -> torch.Tensor:
                return current["timesteps"]

            def noted(_: Any, **values: Any) -> None:
                losses.append(values["loss"])

            with (
                mock.patch.object(DiagonalGaussianDistribution, "sample", lambda self, *_: self.mode()),
                mock.patch("torch.randn_like", noise),
                mock.patch("torch.randint", timesteps),
                mock.patch("tqdm.std.tqdm.set_postfix", noted),
            ):
                runpy.run_path(str(script), run_name="__main__")
    (work / f"{side}.json").write_text(json.dumps(losses))


def main() -> None:
    """Compare speed, then losses; write one result."""
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--base", type=Path, default=Path("data/miniature"))
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--steps", type=int, nargs=2, default=(20, 120))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for everything in between")
    given = parser.parse_args()
    base = given.base.resolve()
    result = {
        "losses": compare_losses(given.script, base, given.size_px, given.work / "losses", steps=10),
        "speed": compare_speed(
            given.script, base, given.size_px, given.work / "speed", tuple(given.steps), given.rounds
        ),
        "setting": {"batch": BATCH, "rank": RANK, "precision": "fp32", "base": given.base.name},
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
