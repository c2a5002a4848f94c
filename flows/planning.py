"""What would run in the whole fleet, and what a change of params.yaml would add to it, before it is made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows import stages
from flows.store import staleness
from flows.store.staleness import Forecast, Verdict
from flows.timings import Timings
from flows.workspace import Workspace
from tasks.shared import params
from tasks.shared.errors import UserError
from tasks.shared.folders import staged_file


@dataclass(frozen=True)
class Change:
    """One key of params.yaml that is to get another value."""

    key: str  # dotted
    old: Any
    new: Any


@dataclass(frozen=True)
class Job:
    """A stage that would run, for one or more subjects; a shared stage runs once."""

    stage: str
    why: str
    subjects: tuple[str, ...]
    seconds: float | None  # None: never measured
    bytes: int | None


def changes(workspace: Workspace, texts: Iterable[str]) -> list[Change]:
    """Read `fine_tune.max_train_steps=400`; the value is YAML.

    Raises:
        UserError: no such key, or no `=`.
    """
    tree = params.read_yaml(workspace.params_file)
    known = list(_keys(tree))
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--param {text}: expected key=value, such as fine_tune.max_train_steps=400")
        if key not in known:
            nearest = get_close_matches(key, known, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "see docs/configuration.md"
            raise UserError(f"--param {text}: params.yaml has no key {key!r}; {hint}")
        new = params.parse_yaml(f"value: {value}", f"--param {text}")["value"]
        found.append(Change(key, _at(tree, key), new))
    return found


def check(workspace: Workspace, wanted: Sequence[Change], forecasts: Iterable[Forecast]) -> None:
    """Validate the changed params for every subject before anything is written.

    Raises:
        UserError: as a stage would say, or a subject's plan could not be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        tentative = Path(folder) / "params.yaml"
        _write(workspace.params_file, tentative, wanted)
        for forecast in forecasts:
            if forecast.error:
                raise UserError(forecast.error)
            stages.check(workspace, [verdict.stage for verdict in forecast.verdicts], tentative)


def with_changes(
    forecasts: Sequence[Forecast], params_file: Path, wanted: Sequence[Change]
) -> list[Forecast]:
    """The forecasts as DVC would give them once the params are changed."""
    return [
        replace(forecast, verdicts=tuple(_with(forecast.verdicts, params_file, wanted)))
        for forecast in forecasts
    ]


def jobs(workspace: Workspace, forecasts: Sequence[Forecast]) -> list[Job]:
    """What would be computed, equal stages with equal reasons together, each shared stage once."""
    timings, groups = Timings(workspace), dict[tuple[str, str], list[tuple[str, Verdict]]]()
    shared: set[str] = set()
    for forecast in forecasts:
        for verdict in forecast.to_compute:
            if verdict.stage.subject_file is None:  # a class prior: one for many subjects
                if verdict.stage.target in shared:
                    continue
                shared.add(verdict.stage.target)
            groups.setdefault((verdict.stage.name, verdict.why), []).append((forecast.name, verdict))
    sizes = {stage: _typical_bytes(workspace, stage) for stage in {stage for stage, _ in groups}}
    made = []
    for (stage, why), members in groups.items():
        each = [timings.about_s(name, [stage]) for name, _ in members]
        known = [seconds for seconds in each if seconds is not None]
        size = sizes[stage]
        made.append(
            Job(
                stage,
                why,
                tuple(name for name, _ in members),
                sum(known) if len(known) == len(each) else None,
                None if size is None else size * len(members),
            )
        )
    return made


def apply(workspace: Workspace, wanted: Sequence[Change]) -> None:
    """Write the changes to params.yaml, all of them or none; comments stay."""
    with staged_file(workspace.params_file) as fresh:
        _write(workspace.params_file, fresh, wanted)


def _with(verdicts: Sequence[Verdict], params_file: Path, wanted: Sequence[Change]) -> list[Verdict]:
    found: list[Verdict] = []
    for verdict in verdicts:
        tracked = verdict.stage.keys.get(params_file, ())
        said = tuple(
            f"{change.key} {change.old} -> {change.new}"
            for change in wanted
            if change.old != change.new and any(_overlap(change.key, key) for key in tracked)
        )
        after = staleness.waits_for(verdict.stage, found)
        # what was made before under the changed params is not known
        recalled = verdict.recalled and not said and after == verdict.after
        found.append(replace(verdict, inputs=verdict.inputs + said, after=after, recalled=recalled))
    return found


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _keys(tree: Any, before: str = "") -> Iterable[str]:
    for key, value in tree.items():
        yield f"{before}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{before}{key}.")


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree


def _write(source: Path, target: Path, wanted: Sequence[Change]) -> None:
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    tree = yaml.load(source.read_text(encoding="utf-8"))
    for change in wanted:
        *parents, last = change.key.split(".")
        section = _at(tree, ".".join(parents)) if parents else tree
        section[last] = change.new
    with open(target, "w", encoding="utf-8") as file:
        yaml.dump(tree, file)


def _typical_bytes(workspace: Workspace, stage: str) -> int | None:
    """Median size of what the stage has written so far; None where it never ran."""
    pattern = "data/class_prior/*/images" if stage == "class_prior" else f"data/subjects/*/{stage}"
    sizes = sorted(
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in list(workspace.root.glob(pattern))[:20]
    )
    return sizes[len(sizes) // 2] if sizes else None
