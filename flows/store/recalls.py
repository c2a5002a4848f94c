"""Which stale stages were made before, of just the inputs that they have or will have: a run brings them back."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.store import repository
from flows.store.staleness import Verdict
from flows.workspace import Workspace

if TYPE_CHECKING:
    from dvc.output import Output


def foresee(workspace: Workspace, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of one plan, in running order, those marked that `versions.recall` will find in DVC's run cache.

    A stage behind one that comes back is asked about with the outputs that come back.
    """
    found: list[Verdict] = []
    coming: dict[Path, Output] = {}
    computed: set[str] = set()  # stages that will make what nobody knows yet
    with repository.calls(workspace):
        for verdict in verdicts:
            if verdict.fresh or verdict.restorable:
                found.append(verdict)
                continue
            unknown = verdict.first or computed.intersection(verdict.after)
            outs = None if unknown else _made_before(verdict.stage.loaded, coming)
            if outs is None:
                computed.add(verdict.stage.name)
            else:
                coming |= outs
            found.append(replace(verdict, recalled=outs is not None))
    return found


def _made_before(loaded: Any, coming: dict[Path, "Output"]) -> dict[Path, "Output"] | None:
    """Outputs of the run that DVC remembers for a stage's inputs, if the cache holds them all."""
    from dvc.exceptions import DvcException

    try:
        for dep in loaded.deps:
            out = coming.get(Path(dep.fs_path))
            if out is None:
                dep.save()
            else:
                dep.hash_info, dep.meta = out.hash_info, out.meta
        cache = loaded.repo.stage_cache
        entry = cache._load(loaded)
        if not entry:
            return None
        before = cache._create_stage(entry, wdir=loaded.wdir)
        return {Path(out.fs_path): out for out in before.outs} if before.outs_cached() else None
    except DvcException:
        return None
