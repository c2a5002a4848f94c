"""A rendered world in miniature: the files of `tasks.toyworld.dataset`, made in milliseconds instead of
rendered.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.toyworld.identity import CLASSES, split_identities
from tasks.toyworld.palette import RGB
from tasks.toyworld.settings import SETTINGS

SIZE = 32


def write_split(folder: Path, count: int, seed: int) -> None:
    """A square in the individual's colour on a ground whose grey is the setting's; four pictures of each
    individual.
    """
    rng = np.random.default_rng(seed)
    pool = split_identities("judge")[:30]
    folder.mkdir(parents=True)
    images = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    masks, parts, shadows = (np.zeros((count, SIZE, SIZE), np.uint8) for _ in range(3))
    lines = []
    for number in range(count):
        one, place = pool[number // 4 % len(pool)], int(rng.integers(len(SETTINGS)))
        top, left = rng.integers(4, 12, 2)
        images[number] = 20 * place + 20
        images[number, top + 12 : top + 16, left : left + 16] //= 2
        shadows[number, top + 12 : top + 16, left : left + 16] = 1
        images[number, top : top + 14, left : left + 12] = RGB[one.primary]
        images[number, top : top + 4, left : left + 12] = RGB[one.secondary]
        masks[number, top : top + 14, left : left + 12] = 1
        parts[number, top : top + 14, left : left + 12] = 1
        parts[number, top : top + 4, left : left + 12] = 2
        thing = {"class": one.cls, "colour": one.primary, "secondary": one.secondary, "pattern": one.pattern}
        lines.append(
            {
                "caption": f"a photo of a {one.primary} {one.cls}",
                "setting": SETTINGS[place],
                "view": "front",
                "style": "photo",
                "objects": [thing | {"decal": one.decal, "identity": one.seed}],
            }
        )
    for name, array in (("images", images), ("masks", masks), ("parts", parts), ("shadows", shadows)):
        np.save(folder / f"{name}.npy", array)
    (folder / "scenes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "manifest.json").write_text("{}\n")


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """A folder with the splits train, judge and heldout of 32 px pictures, every class among them."""
    folder = tmp_path_factory.mktemp("world")
    for seed, (name, count) in enumerate({"train": 240, "judge": 120, "heldout": 30}.items()):
        write_split(folder / name, count, seed)
    assert len(CLASSES) == 10
    return folder
