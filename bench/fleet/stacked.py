"""Many subjects in one step: subjects an hour, and how far their adapters are from those trained one by one.

    python -m bench.fleet.stacked                               # the miniature, 1 and 2 threads, K = 1 2 4 8 16
    python -m bench.fleet.stacked --only equal --steps 300      # adapters and losses against training alone, K = 2 4 8
    python -m bench.fleet.stacked --only equal --double         # the same without rounding
    python -m bench.fleet.stacked --only full --work EMPTY      # Stable Diffusion 1.5's size, random weights

Steps of all group sizes take turns, forwards and backwards, so that whoever else uses the machine slows all alike. CPU time is
given beside wall time: on a busy machine it is the one to trust for one thread (for two, waiting threads count as well).
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.fleet.record import record
from bench.full_size import write_random_sd15
from tasks.backbones.base import Backbone, open_base
from tasks.methods import base as methods
from tasks.methods import dreambooth
from tasks.shared import images, params
from tasks.shared.settings import Base, find_project
from tasks.training.checkpoints import Checkpoints
from tasks.training.engine import Training
from tasks.training.member import Member
from tasks.training.options import Params

PHOTOS, CLASS_PICTURES, STEPS = 5, 8, 300  # steps of a fine-tuning by the shipped params


def soft(count: int, size_px: int, seed: int) -> methods.Pictures:
    """Soft coloured noise: what the pictures show costs no time."""
    rng = np.random.default_rng(seed)
    small = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(count)]
    return methods.Pictures(np.stack([images.resize(picture, size_px) for picture in small]))


def training(
    backbone: Backbone, numbers: list[int], tuner: dict[str, Any], work: Path, size_px: int, **options: Any
) -> Training:
    """Subjects with photos, prior order and seed of their own."""
    told = Params(**{"max_train_steps": STEPS, "lr_scheduler": "linear", "validation_steps": 0, **options})
    members = []
    for number in numbers:
        method = dreambooth.Method(dreambooth.Params(tuner=tuner))
        pictures = soft(PHOTOS, size_px, number), soft(CLASS_PICTURES, size_px, 1000)
        words = {"subject": "sks dog", "class": "dog"}
        size = told.train_batch_size
        method.observe(backbone, methods.Material(pictures[0], words, pictures[1], size, False, number))
        members.append(Member(method, number, Checkpoints(work / str(number), "bench")))
    return Training(members, backbone, told)


def seconds_of_a_step(trainings: dict[int, Training], rounds: int) -> dict[int, dict[str, float]]:
    """Median wall and CPU seconds of a step, for each subject in it, by group size."""
    taken: dict[int, list[tuple[float, float]]] = {size: [] for size in trainings}
    for round_number in range(rounds + 1):
        for size in sorted(trainings, reverse=bool(round_number % 2)):
            wall, cpu = time.perf_counter(), time.process_time()
            trainings[size]._one_step(round_number)
            if trainings[size].backbone.device.type == "cuda":
                torch.cuda.synchronize()
            took = (time.perf_counter() - wall) / size, (time.process_time() - cpu) / size
            if round_number:  # the first one warms up
                taken[size].append(took)
    return {
        size: {
            "wall_s": statistics.median(w for w, _ in times),
            "cpu_s": statistics.median(c for _, c in times),
        }
        for size, times in taken.items()
    }


def told(
    name: str, found: dict[int, dict[str, float]], steps: int, bar: float | None, at: int, **facts: Any
) -> None:
    """Record subjects an hour and how many times as many a group trains; without a bar, what was seen."""
    hourly = {
        size: {key: round(3600 / (steps * s), 2) for key, s in times.items()} for size, times in found.items()
    }
    ratios = {
        key: {size: round(found[1][key] / times[key], 2) for size, times in found.items()}
        for key in ("wall_s", "cpu_s")
    }
    figure = ratios["wall_s"][at]
    shown = {"subjects_per_hour": hourly, "times_one_by_one": ratios, "steps_a_subject": steps}
    shown["load_average"] = round(os.getloadavg()[0], 1)
    asked = f">= {bar} times as many subjects an hour at K={at}"
    if bar is None:
        asked = f"what was seen (the goal of 5 times is a GPU's), K={at}"
    record(name, figure, asked, bar is None or figure >= bar, **shown, **facts)


def speed(project: Path, given: argparse.Namespace) -> None:
    """The miniature with the shipped tuner, by group size and threads."""
    tuner = params.read_yaml(project / "params.yaml")["methods"]["dreambooth"]["tuner"]
    base = Base(model=str(project / "data" / "miniature"), revision="unpinned")
    with tempfile.TemporaryDirectory() as work:
        trainings = {}
        for size in given.sizes:
            backbone = open_base(base, "cpu")
            trainings[size] = training(backbone, list(range(size)), tuner, Path(work), backbone.size_px)
            trainings[size]._mode(training=True)
        for threads in given.threads:
            torch.set_num_threads(threads)
            found = seconds_of_a_step(trainings, given.rounds)
            facts = {"rounds": given.rounds, "batch": "4 photos + 4 class pictures", "base": "miniature"}
            told(f"stacked, {threads} threads", found, STEPS, 1.5, max(s for s in found if s <= 8), **facts)


def full_size(project: Path, given: argparse.Namespace) -> None:
    """Stable Diffusion 1.5's shapes with random numbers, LoRA on the attention."""
    folder = given.work.resolve() / "sd15"
    if not (folder / "model_index.json").is_file():
        write_random_sd15(folder, project / "data" / "miniature" / "tokenizer")
    backbone = open_base(Base(model=str(folder), revision="unpinned", dtype=given.dtype), given.device)
    torch.set_num_threads(given.threads[0])
    found: dict[int, dict[str, float]] = {}
    for size in given.sizes:
        tuner = {"name": "lora", "rank": 8}
        one = training(backbone, list(range(size)), tuner, given.work, given.size_px, train_batch_size=1)
        found[size] = seconds_of_a_step({size: one}, given.rounds)[size]
        print(size, found[size], flush=True)
        backbone.pipeline.unload_lora_weights()
    facts = {
        "rounds": given.rounds,
        "latents": f"{given.size_px // 8} x {given.size_px // 8}",
        "batch": "1 + 1",
    }
    facts |= {"threads": given.threads[0], "base": "SD 1.5's shapes, random", "dtype": given.dtype}
    if given.device == "cpu":
        return told("stacked, SD 1.5's size on a CPU", found, STEPS, None, max(found), **facts)
    facts |= {
        "gpu": torch.cuda.get_device_name(),
        "gpu_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
    }
    name = f"stacked, SD 1.5's size on a GPU, {given.size_px} px, {given.dtype}"
    told(name, found, STEPS, 5.0, max(size for size in found if size <= 8), **facts)


def equal(project: Path, given: argparse.Namespace) -> None:
    """Adapters and losses of groups against those of the same subjects trained alone."""
    tuner = params.read_yaml(project / "params.yaml")["methods"]["dreambooth"]["tuner"]
    base = Base(model=str(project / "data" / "miniature"), revision="unpinned")
    torch.set_num_threads(given.threads[0])

    if given.double:
        _everything_double()

    def trained(numbers: list[int]) -> list[tuple[list[torch.Tensor], list[float]]]:
        backbone = open_base(base, "cpu")
        for module in (backbone.denoiser, *backbone.text_encoders.values()) if given.double else ():
            module.double()
        with tempfile.TemporaryDirectory() as work:
            options = {"max_train_steps": given.steps, "train_batch_size": given.batch}
            one = training(backbone, numbers, tuner, Path(work), backbone.size_px, **options)
            one.train_all()
        own = [one.moving.of_member([p.detach() for p in one.parameters], at) for at in range(len(numbers))]
        return list(zip(own, ([row["loss"] for row in m.curve] for m in one.members), strict=True))

    sizes = [size for size in given.sizes if size > 1]
    compared = given.compared or max(sizes)
    alone = {number: trained([number])[0] for number in range(min(compared, max(sizes)))}
    for size in sizes:
        joint = trained(list(range(size)))
        pairs = [(joint[number], alone[number]) for number in range(size) if number in alone]
        adapter = max(_apart(a, b) for (a, _), (b, _) in pairs)
        facts = {
            "worst_tensor": max(
                _apart([x], [y]) for (a, _), (b, _) in pairs for x, y in zip(a, b, strict=True)
            ),
            "largest_difference_of_losses": max(
                abs(x - y) for (_, a), (_, b) in pairs for x, y in zip(a, b, strict=True)
            ),
            "members_compared": len(pairs),
            "steps": given.steps,
            "photos_a_batch": given.batch,
            "threads": given.threads[0],
            "base": "miniature",
        }
        bar = "adapters of a group within 1e-4 of those trained alone, relative to their size"
        name = f"stacked, equality{' in float64' if given.double else ''}, K={size}"
        record(name, float(f"{adapter:.2e}"), bar, adapter <= 1e-4, **facts)


def _everything_double() -> None:
    """From here on this process computes in float64, also where the code says float32: rounding explains no difference then."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]


def _apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Norm of the difference of two adapters, relative to the norm of the second."""
    whole, known = (torch.cat([tensor.flatten() for tensor in side]) for side in (one, other))
    return float((whole - known).norm() / known.norm())


def main() -> None:
    """Run what is asked, and record it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["speed", "equal", "full"], default="speed")
    parser.add_argument("--sizes", type=int, nargs="+", help="subjects in a group; with 1 for comparison")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5, help="measured steps of each size")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the comparison of adapters")
    parser.add_argument("--batch", type=int, default=4, help="photos a batch in the comparison of adapters")
    parser.add_argument("--double", action="store_true", help="compare adapters in float64")
    parser.add_argument("--compared", type=int, help="members that are also trained alone; default: all")
    parser.add_argument("--size-px", type=int, default=128, help="pictures at full size; 8 px a latent")
    parser.add_argument("--device", default="cpu", help="of --only full; cuda: one GPU")
    parser.add_argument("--dtype", default="float32", help="of the base of --only full; float32 or bfloat16")
    parser.add_argument("--work", type=Path, help="an empty folder for the weights of --only full (4 GB)")
    given = parser.parse_args()
    if given.only == "full" and given.work is None:
        parser.error("--only full needs --work")
    defaults = {"speed": [1, 2, 4, 8, 16], "equal": [2, 4, 8], "full": [1, 2, 4]}
    given.sizes = given.sizes or defaults[given.only]
    {"speed": speed, "equal": equal, "full": full_size}[given.only](find_project(Path.cwd()), given)


if __name__ == "__main__":
    main()
