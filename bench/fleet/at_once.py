"""Subjects brought up to date side by side in one workspace: `python -m bench.fleet.at_once`.

A process each, all started together, of one class whose pictures nobody has made yet; stages that do next to nothing,
so that the processes meet at DVC's locks as often as they can. A round passes when all of them are up to date, and the
class pictures were made once.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.fleet import record, standins

RUN = """
import sys
from pathlib import Path
from flows import execution
from flows.workspace import Workspace
execution.bring_up_to_date(Workspace(Path(sys.argv[1])).subject(sys.argv[2]))
"""


def main() -> None:
    """Run the rounds, print, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--subjects", type=int, default=8, help="processes at once")
    told = parser.parse_args()
    started, passed, complaints = time.monotonic(), 0, []
    with standins.importable():
        for number in range(told.rounds):
            complaint = _round(told.subjects)
            passed += not complaint
            complaints += [complaint] if complaint else []
            print(f"round {number + 1} of {told.rounds}: {complaint or 'passed'}", flush=True)
    record.record(
        "8 at once",
        f"{100 * passed / told.rounds:g} % of {told.rounds} rounds",
        "100 % over 30 rounds",
        passed == told.rounds and told.rounds >= 30,
        subjects=told.subjects,
        minutes=round((time.monotonic() - started) / 60, 1),
        complaints=complaints[:3],
    )


def _round(subjects: int) -> str | None:
    """What went wrong, if anything."""
    from flows.store import staleness
    from tests.flows.conftest import new_subject, new_workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = new_workspace(Path(folder) / "project")
        found = [new_subject(workspace, standins.name_of(number)) for number in range(subjects)]
        running = [
            subprocess.Popen(
                [sys.executable, "-c", RUN, str(workspace.root), subject.name],
                stderr=subprocess.PIPE,
                env=os.environ,
                text=True,
            )
            for subject in found
        ]
        said = [process.communicate()[1] for process in running]
        for process, words in zip(running, said, strict=True):
            if process.returncode:
                return words.strip().splitlines()[-1] if words.strip() else f"ended with {process.returncode}"
        if not all(one.fresh for one in staleness.forecasts(workspace, workspace.subjects())):
            return "not all are up to date"
        calls = (found[0].prior / ".work" / "calls.log").read_text().split()
        return None if calls == ["class_prior"] else f"the class pictures were made {len(calls)} times"


if __name__ == "__main__":
    main()
