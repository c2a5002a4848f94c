"""What DVC and Prefect cost around stages that do next to nothing: `python -m bench.orchestration`.

CPU seconds of this process and its children (wall time says little on a shared machine): a stage run by the flow,
a no-op run of one subject and of a fleet, and the start of a Prefect API of our own.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.shared.folders import staged_file

REPO = Path(__file__).resolve().parent.parent


found: dict[str, dict[str, float | str]] = {}


@contextmanager
def measured(what: str, per: int = 1, unit: str = "") -> Iterator[None]:
    """Print and keep CPU and wall seconds of a block, divided by `per`."""
    before, started = os.times(), time.monotonic()
    yield
    after, wall_s = os.times(), time.monotonic() - started
    cpu_s = sum(after[:4]) - sum(before[:4])
    found[what] = {"cpu_s": round(cpu_s / per, 3), "wall_s": round(wall_s / per, 3), "per": unit or "in all"}
    print(f"{what:<48}{cpu_s / per:8.3f} CPU s {wall_s / per:8.3f} s  {unit}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=200, help="size of the fleet")
    count = parser.parse_args().subjects
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPO / "tests" / "flows"), str(REPO)])
    sys.path[:0] = [str(REPO / "tests" / "flows"), str(REPO)]
    from flows import execution, prefect_api
    from flows.store import staleness
    from tests.flows.conftest import PLAN, new_subject, new_workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = new_workspace(Path(folder) / "project")
        names = [f"s{number:03d}" for number in range(count)]
        first, second = (new_subject(workspace, name) for name in names[:2])
        execution.bring_up_to_date(first)  # imports, the class prior
        with measured("DVC alone, a stage that runs", len(PLAN) - 1, "a stage"):
            execution.bring_up_to_date(second)
        with measured("no-op, one subject"):
            staleness.forecasts(workspace, names[:1])
        with measured("making the fleet", count - 2, "a subject"):
            for name in names[2:]:
                execution.bring_up_to_date(new_subject(workspace, name))
        with measured(f"no-op, {count} subjects", count, "a subject"):
            assert all(forecast.fresh for forecast in staleness.forecasts(workspace, names))
        with measured("no-op, one subject of the fleet"):
            staleness.forecasts(workspace, names[:1])
        third = new_subject(workspace, "third")
        with (
            measured("Prefect API of our own, first start and end"),
            prefect_api.connection(workspace) as wait,
        ):
            wait()
        with prefect_api.connection(workspace) as wait:
            from flows import personalize

            with (
                personalize.settings(wait()),
                measured("flow and DVC, a stage that runs", len(PLAN) - 1, "a stage"),
            ):
                personalize.run(workspace, third.name)
    with staged_file(REPO / "bench" / "results" / "orchestration.json") as path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
