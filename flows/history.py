"""Every version of a subject: what was asked, what DVC recorded, what it scored. One line each in history.jsonl.

A version is the text of the three files that say what a subject is (subject.yaml, photos.dvc, dvc.lock), so going back
to one is writing them again and taking the outputs from the cache. The file belongs to the subject's folder and
travels with it through git.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from flows import timings
from flows.lock import held
from flows.store import recorded, remote, versions
from flows.workspace import SubjectFolder
from tasks.shared.errors import UserError
from tasks.shared.folders import append_line, staged_file

FILE = "history.jsonl"
TOLD = ("subject.yaml", "photos.dvc", "dvc.lock")
SCORES = ("dino_subject", "dino", "clip_t", "drift")


@dataclass(frozen=True)
class Version:
    """What a subject was after a run that changed something."""

    number: int  # from 1
    when: str  # UTC, ISO 8601
    ran: tuple[str, ...]
    scores: dict[str, float]
    files: dict[str, str]  # text of TOLD
    seconds: float = 0.0  # how long what ran took
    gone: str | None = None  # when its bytes were removed as no longer kept; None: they are there


def record(subject: SubjectFolder, ran: Mapping[str, float]) -> None:
    """Append what the subject is now; nothing where it is what the last version was.

    Args:
        ran: seconds of the stages of the run that is over. Those that were made before it and are in no version yet,
            together with other subjects or by a run that was killed, are found in dvc.lock and added.
    """
    known, now = read(subject), _files(subject)
    if known and known[-1].files == now:
        return
    before, seconds = _made_before(ran, known, now), sum(ran.values())
    if before:
        seconds += timings.Timings(subject.workspace).about_s(subject.name, before) or 0.0
    when = datetime.now(UTC).isoformat(timespec="seconds")
    version = Version(len(known) + 1, when, (*before, *ran), _scores(subject), now, round(seconds, 1))
    append_line(subject.folder / FILE, asdict(version))


def behind(subject: SubjectFolder) -> bool:
    """Whether what DVC has recorded last is in no version."""
    now = _files(subject).get("dvc.lock")
    return now is not None and all(version.files.get("dvc.lock") != now for version in read(subject))


def read(subject: SubjectFolder) -> list[Version]:
    """All versions, the oldest first; a line that a crash cut short is left out, a key of a later Dreamline ignored."""
    path, known = subject.folder / FILE, {field.name for field in fields(Version)}
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            content = {key: value for key, value in json.loads(line).items() if key in known}
            found.append(Version(**content | {"ran": tuple(content["ran"])}))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def current(subject: SubjectFolder) -> int | None:
    """Number of the newest version that the subject is now; None after a change that has not run yet."""
    now = _files(subject)
    return next((version.number for version in reversed(read(subject)) if version.files == now), None)


def mark_gone(subject: SubjectFolder, numbers: Iterable[int]) -> None:
    """Note that the bytes of some versions were removed; the lines stay, with their scores."""
    today, wanted = datetime.now(UTC).date().isoformat(), set(numbers)
    marked = [
        replace(version, gone=version.gone or today) if version.number in wanted else version
        for version in read(subject)
    ]
    with staged_file(subject.folder / FILE) as fresh:
        fresh.write_text("".join(json.dumps(asdict(version)) + "\n" for version in marked), encoding="utf-8")


def roll_back(subject: SubjectFolder, number: int) -> None:
    """Make the subject what it was in a version, outputs from the cache or the remote.

    Raises:
        UserError: there is no such version, a run is going on, or nobody holds the outputs; nothing has changed then.
    """
    found = {version.number: version for version in read(subject)}
    if number not in found:
        known = f"there are 1 to {max(found)}" if found else "there is none yet"
        raise UserError(f"{subject.name}: no version {number}; {known}")
    if found[number].gone:
        raise UserError(
            f"{subject.name}: the bytes of version {number} were removed on {found[number].gone}, as `retention` in "
            f"params.yaml says; its settings are in {subject.folder / FILE}: set them again and run"
        )
    with held(subject.lock_file, busy=f"{subject.name}: a run of this subject is going on"):
        before = _files(subject)
        _write(subject, found[number].files)
        missing = [
            target for target in _targets(subject) if not versions.bring_back(subject.workspace, target)
        ]
        if missing:
            _write(subject, before)
            for target in _targets(subject):
                versions.restore(subject.workspace, target)
            raise UserError(
                f"{subject.name}: version {number} is neither in the cache nor at the remote "
                f"({', '.join(missing)}); nothing was changed"
            )


def _made_before(ran: Container[str], known: Sequence[Version], now: Mapping[str, str]) -> list[str]:
    """Stages that did not run now, and whose record in dvc.lock is in none of the versions."""
    locked = recorded.stages(now.get("dvc.lock", ""))
    new = {stage: entry for stage, entry in locked.items() if stage not in ran}
    for version in reversed(known):
        if not new:
            break
        then = recorded.stages(version.files.get("dvc.lock", ""))
        new = {stage: entry for stage, entry in new.items() if then.get(stage) != entry}
    return list(new)


def _targets(subject: SubjectFolder) -> list[str]:
    stages = [f"{subject.dvc_file}:{stage}" for stage in remote.recorded(subject.dvc_file)]
    return [str(subject.photos_file), *stages]


def _files(subject: SubjectFolder) -> dict[str, str]:
    paths = {name: subject.folder / name for name in TOLD}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.exists()}


def _write(subject: SubjectFolder, files: dict[str, str]) -> None:
    for name, text in files.items():
        with staged_file(subject.folder / name) as fresh:
            fresh.write_text(text, encoding="utf-8")


def _scores(subject: SubjectFolder) -> dict[str, Any]:
    try:
        found = json.loads((subject.folder / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: found[name] for name in SCORES if name in found}
