"""The bench's own eye as it ships, so that rows of different machines are seen by the same one: bench/eye.safetensors.

`python -m bench.eye` makes it anew (a quarter of an hour of a core): the attribute judge, trained on renders of individuals that
are the judges' alone, with its head for several classes fitted to scenes of two. What it reaches on true renders stands in
data/miniature/quality.json as `bench_judge_...`.
"""

from pathlib import Path

import safetensors.torch

from bench import attribute_judge
from bench.attribute_judge import AttributeJudge
from tasks.pretrain.renders import Renders
from tasks.shared import folders, manifest, tensors
from tasks.shared.settings import find_project
from tasks.toyworld.dataset import write_dataset

WEIGHTS = Path(__file__).with_suffix(".safetensors")
RENDERED = (("judge", 8000, 2, None), ("pairs", 3000, 4, 2))
"""Folder in data/toyworld/, pictures, seed, objects in a scene (None: as the world has them)."""


def open_eye() -> AttributeJudge:
    """The eye that ships."""
    eye = AttributeJudge()
    eye.load_state_dict(safetensors.torch.load_file(WEIGHTS))
    return eye.eval()


def digest() -> str:
    """What tells it from another one: scores by different eyes are not compared."""
    return manifest.digest(WEIGHTS)[:16]


def main() -> None:
    """Render what it learns from, train it, write it."""
    project = find_project(Path.cwd())
    data, kept = project / "data" / "toyworld", project / ".work" / "bench"
    for name, count, seed, objects in RENDERED:
        write_dataset(data / name, count=count, seed=seed, split="judge", objects=objects)
    eye = attribute_judge.trained(Renders(data / "judge"), kept)
    eye = attribute_judge.taught_pairs(eye, Renders(data / "pairs"), kept)
    with folders.staged_file(WEIGHTS) as fresh:
        tensors.save(fresh, eye.state_dict())
    print(WEIGHTS)


if __name__ == "__main__":
    main()
