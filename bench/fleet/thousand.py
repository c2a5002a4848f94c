"""A night over a thousand subjects with stages that do next to nothing: `python -m bench.fleet.thousand`.

What is measured is the orchestration: a night in which nothing is to do, its memory, what a subject costs in fleets of
three sizes, and a night in which one of all has changed. Wall time, beside it CPU time: a shared machine shows in the
difference. The first look at a fleet asks DVC about everybody; it is measured too, and is no no-op night.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.fleet import record, standins

NIGHT = """
import json, os, resource, sys, time
from pathlib import Path
from flows import nightly, personalize
from flows.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
with personalize.settings(os.environ["PREFECT_API_URL"]):
    started, before = time.monotonic(), os.times()
    night = nightly.run(workspace, workspace.subjects())
    nightly.finish(workspace, night)
    seconds, after = time.monotonic() - started, os.times()
states = {state: len(night.of(state)) for state in ("failed", "new", "changed", "unchanged")}
stages = sum(row.seconds or 0 for row in night.rows)
print(json.dumps({"wall_s": seconds, "cpu_s": sum(after[:2]) - sum(before[:2]), "stages_s": stages, **states}))
"""


def night(workspace: Any) -> dict[str, float]:
    """A night in a process of its own; seconds without Prefect's start, peak memory with all its children."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", NIGHT, str(workspace.root)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    found["process_s"] = time.monotonic() - started
    return found


def peak_gb() -> float:
    """Largest resident set of any one process that has ended so far, children of children included."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="subjects of the largest fleet")
    count = parser.parse_args().count
    from flows import prefect_api
    from flows.workspace import Workspace

    sizes = sorted({max(2, count // 100), max(2, count // 10), count})
    with standins.importable(), tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PREFECT_API_URL", None)
        with prefect_api.connection(Workspace(Path(folder) / "api")) as wait:
            os.environ["PREFECT_API_URL"] = wait()
            looks = {size: _fleet(Path(folder) / str(size), size) for size in sizes}
        quiet, changed = looks[count]["no-op"], looks[count]["one changed"]
        per_subject = {size: look["no-op"]["cpu_s"] / size for size, look in looks.items()}
    facts = {
        "subjects": count,
        "cpu_s": round(quiet["cpu_s"], 2),
        "whole_process_s": round(quiet["process_s"], 1),
        "first_look_cpu_s": round(looks[count]["first look"]["cpu_s"], 1),
        "first_look_wall_s": round(looks[count]["first look"]["wall_s"], 1),
    }
    record.record(
        "thousand: no-op night", round(quiet["wall_s"], 2), "<= 60 s", quiet["wall_s"] <= 60, **facts
    )
    memory = peak_gb() * 2  # the night and Prefect's server, each at most as large as the largest
    record.record(
        "thousand: memory", round(memory, 2), "<= 1 GB", memory <= 1, subjects=count, unit="GB, upper bound"
    )
    smallest, largest = per_subject[sizes[0]], per_subject[sizes[-1]]
    record.record(
        "thousand: cost of a subject",
        ", ".join(f"{size}: {cost * 1000:.1f} ms" for size, cost in per_subject.items()),
        "flat",
        largest <= 1.5 * smallest,
        unit="CPU ms of a no-op night per subject",
    )
    beside = changed["wall_s"] - changed["stages_s"] - quiet["wall_s"]
    record.record(
        "thousand: one changed subject",
        round(changed["wall_s"] - changed["stages_s"], 2),
        "<= 3 s + its stages, beside the no-op night",
        beside <= 3,
        beside_the_no_op_night_s=round(beside, 2),
        stages_s=round(changed["stages_s"], 2),
        subjects=count,
    )


def _fleet(root: Path, size: int) -> dict[str, dict[str, float]]:
    from flows import execution
    from flows.workspace import write_subject
    from tests.flows.conftest import new_subject, new_workspace

    workspace = new_workspace(root)
    first = new_subject(workspace, standins.name_of(0))
    execution.bring_up_to_date(first)
    names = [first.name, *standins.clones(workspace, first, size)]
    found = {"first look": night(workspace), "no-op": night(workspace)}
    assert all(look["unchanged"] == size for look in found.values()), found
    changed = workspace.subject(names[size // 2])
    write_subject(changed.subject_file, {"sample": {"seed": 77}})
    found["one changed"] = night(workspace)
    assert found["one changed"]["changed"] == 1, found
    print(f"{size} subjects: {json.dumps(found)}", flush=True)
    return found


if __name__ == "__main__":
    main()
