"""The same rows on photographs: DreamBench's subjects and prompts, for weights that know the real world.

There is no true picture of a prompt here, so what is left are the field's own scores, as the stage `evaluate` gives them.
Source of subjects and prompts: Ruiz et al. 2023, arXiv:2208.12242, section 4.1; read from the dataset's own
`prompts_and_classes.txt`, of which nothing is copied.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.toybench import results
from bench.toybench.fleet import Entry
from flows.workspace import SubjectFolder
from tasks.shared.errors import UserError

TOLD = "prompts_and_classes.txt"
LIVE = ("cat", "dog")
"""Classes that get the prompts for live subjects."""
SCORES = ("dino", "dino_subject", "clip_i", "clip_t", "pres", "drift", "div", "class_div", "memorisation")


def entries(folder: Path) -> list[Entry]:
    """Every subject of a DreamBench folder that has photos.

    Args:
        folder: holds prompts_and_classes.txt and a folder of photos for each subject.
    Raises:
        UserError: the file is missing or has another form, or there are no photos.
    """
    path = folder / TOLD
    if not path.is_file():
        raise UserError(f"{path}: missing; --photos takes a folder in the form of the DreamBooth dataset")
    text = path.read_text(encoding="utf-8")
    classes = dict(re.findall(r"^([a-z0-9_]+),([a-z ]+)$", text, re.MULTILINE))
    lists = [_prompts(block) for block in re.findall(r"prompt_list = \[(.*?)\]", text, re.DOTALL)]
    if len(lists) != 2 or not classes:
        raise UserError(f"{path}: expected a list of subjects and two lists of prompts")
    things, live = lists
    found = [
        Entry(name.replace(" ", "_"), cls, folder / name, live if cls in LIVE else things)
        for name, cls in sorted(classes.items())
        if (folder / name).is_dir()
    ]
    if not found:
        raise UserError(f"{folder}: none of the subjects in {TOLD} has a folder of photos")
    return found


def of_subject(folder: SubjectFolder) -> dict[str, float]:
    """Scores with floor and ceiling, from the subject's own metrics.json."""
    found = json.loads((folder.folder / "evaluate" / "metrics.json").read_text())
    return {name: value for name, value in found.items() if name.startswith(SCORES)}


def summary(subjects: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means over subjects with intervals."""
    means = {}
    for name in SCORES:
        values = {subject: row[name] for subject, row in subjects.items() if name in row}
        if values:
            means[name] = results.mean(list(values.values()), list(values))
    return {"scores": means, "per_subject": subjects}


def _prompts(block: str) -> tuple[str, ...]:
    return tuple(text.replace("{0} {1}", "{subject}") for text in re.findall(r"'([^']+)'\.format", block))
