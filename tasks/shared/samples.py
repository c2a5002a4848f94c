"""`samples.json`: what the stage sample drew, for the stages that judge and show it."""

import json
from pathlib import Path
from typing import Any

from tasks.shared.errors import UserError

KEYS = ("file", "kind", "prompt", "seed")


def read(sample: Path) -> list[dict[str, Any]]:
    """The entries: file (relative to `sample`), kind (subject, base, class_tuned, class_base), prompt,
    seed, scene, verdict.

    Raises:
        UserError: the file is damaged or an entry lacks a key.
    """
    path = sample / "samples.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        missing = {key for entry in entries for key in KEYS if key not in dict(entry)}
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); run the stage 'sample' again") from error
    if missing:
        raise UserError(f"{path}: entries lack {', '.join(sorted(missing))}; run the stage 'sample' again")
    return entries
