"""Render a data set: `python -m tasks.toyworld.dataset --out PATH --count N --seed S --split train`.

Writes into PATH.part and renames when complete. images.npy uint8 [n h w 3]; masks.npy uint8 [n h w]
(0 backdrop, k the k-th object); parts.npy uint8 [n h w]; shadows.npy uint8 [n h w] (bit k-1: shadow of
object k); scenes.jsonl; manifest.json last. Picture i depends on (seed, i)
only, not on the number of processes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from tasks.shared.errors import UserError
from tasks.toyworld.captions import caption
from tasks.toyworld.identity import split_identities
from tasks.toyworld.render import render
from tasks.toyworld.scene import Scene, sample_scene

_CHUNK = 200


def describe(scene: Scene, rng: np.random.Generator) -> dict:
    """One line of scenes.jsonl."""
    return {
        "caption": caption(scene, rng),
        "caption_de": caption(scene, rng, "de"),
        "setting": scene.setting,
        "view": scene.view,
        "style": scene.style,
        "objects": [
            {
                "class": o.identity.cls,
                "colour": o.identity.primary,
                "secondary": o.identity.secondary,
                "pattern": o.identity.pattern,
                "decal": o.identity.decal,
                "identity": o.identity.seed,
            }
            for o in scene.objects
        ],
    }


def _render_chunk(job: tuple[str, int, int, int, str, int, int | None]) -> list[dict]:
    """Render pictures first..last-1 into the open arrays; return their descriptions."""
    folder, first, last, seed, split, size_px, objects = job
    pool = split_identities(split)
    arrays = {name: open_memmap(Path(folder) / f"{name}.npy", mode="r+") for name in _shapes(1, size_px)}
    lines = []
    for i in range(first, last):
        rng = np.random.default_rng([seed, i])
        scene = sample_scene(rng, pool, objects=objects)
        drawn = render(scene, size_px)
        arrays["images"][i] = drawn.rgb
        arrays["masks"][i] = sum((k + 1) * mask for k, mask in enumerate(drawn.object_masks.astype(np.uint8)))
        arrays["parts"][i] = drawn.parts
        arrays["shadows"][i] = sum((1 << k) * mask for k, mask in enumerate(drawn.shadows.astype(np.uint8)))
        lines.append(describe(scene, rng))
    return lines


def _shapes(count: int, size_px: int) -> dict[str, tuple[int, ...]]:
    plane = (count, size_px, size_px)
    return {"images": (*plane, 3), "masks": plane, "parts": plane, "shadows": plane}


def write_dataset(
    out: Path,
    *,
    count: int,
    seed: int,
    split: str,
    size_px: int = 128,
    processes: int = 2,
    objects: int | None = None,
) -> None:
    """Render `count` pictures to `out`; if they are there already, nothing is done.

    Args:
        objects: how many a scene has; None: mostly one, sometimes two.
    Raises:
        UserError: `out` holds other pictures than these.
    """
    manifest = {"count": count, "seed": seed, "split": split, "size_px": size_px, "format": 1}
    manifest |= {} if objects is None else {"objects": objects}
    if (out / "manifest.json").exists():
        found = json.loads((out / "manifest.json").read_text())
        if found != manifest:
            raise UserError(f"{out}: holds other renders, {found}, and not {manifest}; remove the folder")
        print(f"{out} is complete already", file=sys.stderr)
        return
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, shape in _shapes(count, size_px).items():
        open_memmap(part / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape).flush()
    jobs = [
        (str(part), first, min(first + _CHUNK, count), seed, split, size_px, objects)
        for first in range(0, count, _CHUNK)
    ]
    started, done = time.monotonic(), 0
    with (
        (part / "scenes.jsonl").open("w", encoding="utf-8") as scenes,
        multiprocessing.get_context("spawn").Pool(processes) as workers,
    ):
        for lines in workers.imap(_render_chunk, jobs):
            scenes.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            done += len(lines)
            pace = done / (time.monotonic() - started)
            print(f"\r{done}/{count}  {pace:.0f} pictures/s", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    (part / "manifest.json").write_text(json.dumps(manifest) + "\n")
    part.rename(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", choices=["train", "judge", "second", "heldout"], default="train")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    write_dataset(
        given.out,
        count=given.count,
        seed=given.seed,
        split=given.split,
        size_px=given.size,
        processes=given.processes,
    )
