"""Freeze which individuals belong to training, to the judges and to ToyBench.

`python -m tasks.toyworld.splits` writes data/toyworld/identities.json. Every individual has a
seed of its own, whatever its class, and splits have disjoint ranges. Run again only to start a new benchmark:
scores do not carry over.
"""

import json

from tasks.toyworld.identity import CLASSES, SPLITS_FILE, draw_identity

_RANGES = {  # first seed, individuals per class
    "train": (0, 400),
    "judge": (100_000, 200),
    "second": (300_000, 200),  # of the second text judge
    "heldout": (400_000, 100),  # what every model is measured on and none was trained on
}
_BENCH_FIRST = 200_000
_PLAN = [  # difficulty of a class's three ToyBench subjects, by turns
    ("plain", "patterned", "decal"),
    ("two_tone", "patterned", "fine"),
    ("plain", "two_tone", "patterned"),
    ("patterned", "decal", "two_tone"),
    ("two_tone", "patterned", "fine"),
]


def make_splits() -> dict:
    """The content of identities.json."""
    splits: dict = {
        name: {cls: list(range(first + i * count, first + (i + 1) * count)) for i, cls in enumerate(CLASSES)}
        for name, (first, count) in _RANGES.items()
    }
    splits["toybench"] = []
    for i, cls in enumerate(CLASSES):
        seed = _BENCH_FIRST + 1000 * i
        colours: set[str] = set()
        for wanted in _PLAN[i % len(_PLAN)]:
            while True:
                who = draw_identity(seed, cls)
                seed += 1
                if who.difficulty == wanted and who.primary not in colours:
                    break
            colours.add(who.primary)
            what = who.pattern if who.decal == "none" else f"{who.pattern}_{who.decal}"
            slug = f"{cls}_{who.primary}_{who.secondary}_{what}"
            splits["toybench"].append({"name": slug, "class": cls, "seed": who.seed, "difficulty": wanted})
    return splits


if __name__ == "__main__":
    SPLITS_FILE.parent.mkdir(parents=True, exist_ok=True)
    SPLITS_FILE.write_text(json.dumps(make_splits()).replace('{"name"', '\n{"name"') + "\n")
