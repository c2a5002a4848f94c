"""Old versions that `retention` no longer keeps: their objects go, their lines in history.jsonl stay."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic import Field

from flows import history
from flows.history import Version
from flows.lock import held
from flows.store import objects
from flows.workspace import SubjectFolder, Workspace
from tasks.shared import params
from tasks.shared.errors import UserError

log = logging.getLogger(__name__)


class Params(params.Params):
    """Which versions of a subject keep their bytes; what the subject is now always does."""

    versions: int | None = Field(
        default=10, ge=1, description="newest versions of a subject that are kept; null: all of them"
    )
    days: int | None = Field(
        default=None, ge=1, description="versions younger than this are kept too; null: age keeps none"
    )


@dataclass(frozen=True)
class Due:
    """Versions of a subject that are no longer kept."""

    subject: SubjectFolder
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be."""

    subject: str
    versions: tuple[int, ...]
    objects: int
    bytes: int
    error: str | None = None


def due(workspace: Workspace, names: Iterable[str], now: datetime | None = None) -> list[Due]:
    """Versions that are no longer kept, subject by subject; subjects without any are left out.

    Raises:
        UserError: the section `retention` of params.yaml is wrong.
    """
    rules = params.validate(Params, workspace.section("retention"), "params.yaml: retention")
    now = now or datetime.now(UTC)
    found = [Due(subject, _old(subject, rules, now)) for subject in map(workspace.subject, names)]
    return [one for one in found if one.versions]


def prune(workspace: Workspace, found: Sequence[Due], dry: bool = False) -> list[Pruned]:
    """Remove the objects of old versions that no kept version and no other subject needs, then mark them as gone.

    Args:
        dry: only say what would go.
    Raises:
        UserError: the remote does not answer.
    """
    if not found:
        return []
    done = []
    with objects.opened(workspace) as stores:
        leaving = {one.subject.name: {version.number for version in one.versions} for one in found}
        needed = objects.needed(workspace, leaving)
        for one in found:
            try:
                done.append(_prune(stores, one, needed, dry))
            except UserError as error:
                log.warning("prune: %s: %s", one.subject.name, error)
                done.append(Pruned(one.subject.name, (), 0, 0, str(error)))
    return done


def _prune(stores: objects.Stores, one: Due, needed: set[str], dry: bool) -> Pruned:
    subject, numbers = one.subject, tuple(version.number for version in one.versions)
    with held(subject.lock_file, busy=f"{subject.name}: a run of this subject is going on"):
        removed = objects.remove(stores, objects.of_versions(subject, one.versions), needed, dry)
        if not dry:
            history.mark_gone(subject, numbers)
    return Pruned(subject.name, numbers, removed.found, removed.bytes)


def _old(subject: SubjectFolder, rules: Params, now: datetime) -> tuple[Version, ...]:
    there = [version for version in history.read(subject) if not version.gone]
    if rules.versions is None:
        return ()
    current = history.current(subject)
    youngest = now - timedelta(days=rules.days) if rules.days else now
    return tuple(
        version
        for version in there[: -rules.versions]
        if version.number != current and datetime.fromisoformat(version.when) <= youngest
    )
