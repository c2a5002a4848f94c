"""What exactly changed: DVC names the file or section, its lock file holds the old values."""

from pathlib import Path
from typing import Any

from flows.store.pipeline import Stage
from tasks.shared import params
from tasks.shared.errors import UserError

NEVER_RUN = "never run"


def of(stage: Stage, path: str, change: Any) -> list[str]:
    """Words for one changed dependency of a stage.

    Args:
        path: absolute.
        change: DVC's word ("modified", "new", "deleted"), or for a settings file {key: word}.
    """
    if isinstance(change, dict):
        before, now = _recorded(stage, path), _read(path)
        return [f"{_short(path)}: {detail}" for key in change for detail in _details(key, before, now)]
    if change == "new" and Path(path) in stage.keys:
        return [NEVER_RUN]  # dvc.lock holds no value of it
    return [f"{_short(path)} {change}"]


def _details(key: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """ "sample.seed 5 -> 6" for every value below `key` that differs."""
    new: Any = now
    for part in key.split("."):
        new = new.get(part) if isinstance(new, dict) else None
    if key not in before:
        return [f"{key} new"]
    return [
        f"{name} {_value(old)} -> {_value(new)}" for name, old, new in _differences(key, before[key], new)
    ]


def _differences(key: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(name for name in new if name not in old)]
        return [one for name in names for one in _differences(f"{key}.{name}", old.get(name), new.get(name))]
    return [] if old == new else [(key, old, new)]


def _value(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _recorded(stage: Stage, path: str) -> dict[str, Any]:
    """The values of one settings file as dvc.lock holds them, by dotted key."""
    content = _read(str(stage.file.with_suffix(".lock")))
    values = (content.get("stages") or {}).get(stage.name, {}).get("params", {})
    return next(
        (v for name, v in values.items() if (stage.file.parent / name).resolve() == Path(path).resolve()), {}
    )


def _read(path: str) -> dict[str, Any]:
    try:
        return params.read_yaml(Path(path))
    except UserError:
        return {}


def _short(path: str) -> str:
    """`images` says little; its class does."""
    return f"class images of {Path(path).parent.name}" if Path(path).name == "images" else Path(path).name
