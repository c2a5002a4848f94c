"""The rows of settings.yaml, and the subjects of each split."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.toybench.toys import TWIN
from tasks.shared import params
from tasks.shared.errors import UserError
from tasks.toyworld.captions import CLASSES
from tasks.toyworld.subjects import subjects

FILE = Path(__file__).with_name("settings.yaml")
IDENTIFIER = "sks"
SMALL = (  # one of each difficulty and eight classes
    "dog_blue_yellow_plain",
    "cat_white_blue_two_tone",
    "duck_black_orange_diamonds",
    "car_white_green_plain_star",
    "robot_purple_white_stripes_heart",
    "teapot_purple_yellow_stripes",
    "mushroom_pink_blue_checks",
    "house_pink_black_two_tone",
)
DEV = ("cat_yellow_red_checks", "rocket_black_yellow_two_tone", "chair_black_pink_checks_star")
"""Not in SMALL: defaults are chosen on these, and compared on those."""
SPLITS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "dev": (DEV, (1, 2)),
    "small": (SMALL, (1, 2)),
    "pairs": (tuple(name + twin for name in SMALL for twin in ("", TWIN)), (1, 2)),
    "full": (tuple(subjects()), (1, 2, 3, 4)),
}
"""Subjects and sample seeds of each split."""


UNTRAINED = {
    "base": "untuned, asked for the class",
    "base_caption": "untuned, the first colour named as well",
    "ceiling": "true pictures through the autoencoder",
}
"""Rows that need no training, in words."""


@dataclass(frozen=True)
class Setting:
    """One row: what is laid over params.yaml.

    Attributes:
        phrase: how prompts call the subject.
        at_once: subjects whose fine-tunings share every step.
    """

    name: str
    says: str
    phrase: str = "{identifier} {class}"
    at_once: int = 1
    overrides: dict[str, Any] = field(default_factory=dict)

    def calls(self, cls: str) -> str:
        """How this row's prompts call a subject of class `cls`."""
        number = CLASSES.index(cls) if cls in CLASSES else len(CLASSES) - 1
        wrong = CLASSES[(number + 3) % len(CLASSES)]
        return (
            self.phrase.replace("{identifier}", IDENTIFIER)
            .replace("{wrong_class}", wrong)
            .replace("{class}", cls)
        )


def read(name: str) -> Setting:
    """A row by its name.

    Raises:
        UserError: settings.yaml has no such row.
    """
    rows = params.read_yaml(FILE)
    if name not in rows:
        raise UserError(f"{FILE.name}: no row {name!r}; there are: {', '.join(rows)}")
    row = dict(rows[name])
    own = {key: row.pop(key) for key in ("phrase", "at_once") if key in row}
    return Setting(name, row.pop("says"), **own, overrides=row)


def names() -> list[str]:
    """All rows, in the order of the file."""
    return list(params.read_yaml(FILE))
