"""How soon a worker trains its second subject once the first is done: `python -m bench.fleet.warm_worker`.

The real stages on the miniature, few steps, in the flow `batch` as a worker runs it: Prefect's API, git and a DVC remote
included, so what the first subject made is handed on meanwhile. Counted is what is not the second subject's own work
before training (its segment).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.fleet.record import record

REPO = Path(__file__).resolve().parent.parent.parent
BAR_S = 2.0
FIRST, SECOND = "miso", "tama"


def project(folder: Path, steps: int) -> Path:
    """A clone with two subjects of the bundled photos, few steps and pictures."""
    from ruamel.yaml import YAML

    from flows import adding
    from flows.workspace import Workspace
    from tests.flows.conftest import new_workspace

    first = new_workspace(folder / "first", package="tasks")
    yaml = YAML()
    tree = yaml.load(REPO / "params.yaml")
    tree["sharing"]["git_remote"] = "origin"
    tree["base"]["model"] = str(REPO / tree["base"]["model"])
    for key in ("dino", "clip"):
        tree["evaluate"][key] = str(REPO / tree["evaluate"][key])
    tree["machine"]["subjects_at_once"] = 1  # one after the other is what is asked about
    tree["fine_tune"].update(max_train_steps=steps, validation_steps=0)
    tree["class_prior"].update(num_class_images=8, judge=None)
    tree["sample"].update(num_inference_steps=2, num_class_images=2, prompts=["a {subject} on the grass"])
    yaml.dump(tree, first.params_file)
    (first.root / "data" / "segmenters").symlink_to(REPO / "data" / "segmenters")
    config = first.root / ".dvc" / "config"
    config.write_text(config.read_text().replace("../.dreamline/remote", str(folder / "bytes")))
    for name in (FIRST, SECOND):
        photos = [REPO / "data" / "demo" / "miso"]
        adding.add(Workspace(first.root), photos, name, None, None, **{"class": "cat"})
    subprocess.run(["git", "add", "-A"], cwd=first.root, check=True)
    subprocess.run(["git", "commit", "-qm", "fleet"], cwd=first.root, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(first.root), str(folder / "fleet.git")], check=True)
    subprocess.run(["git", "remote", "add", "origin", str(folder / "fleet.git")], cwd=first.root, check=True)
    return first.root


def marks(root: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Moments of one batch of both subjects: on the wall, and in CPU seconds of this process."""
    from flows import batches, personalize, prefect_api
    from flows.store.staleness import Verdict
    from flows.workspace import Workspace
    from tasks.training.engine import Training

    seen: dict[str, float] = {}
    cpu: dict[str, float] = {}

    def mark(what: str) -> None:
        seen[what], cpu[what] = time.monotonic(), time.process_time()

    def tell(name: str, event: Any) -> None:
        if isinstance(event, Verdict):
            mark(f"{name} {event.stage.name} begins")
        elif event.action == "ran":
            mark(f"{name} {event.stage} ends")

    one_step = Training._one_step

    def step(self: Training, number: int) -> Any:
        name = SECOND if f"{FIRST} report ends" in seen else FIRST
        if f"{name} first step" not in seen:
            mark(f"{name} first step")
        return one_step(self, number)

    Training._one_step = step  # type: ignore[method-assign, assignment]
    personalize._listeners.append(tell)
    with prefect_api.connection(Workspace(root)) as wait, personalize.settings(wait()):
        results = batches.batch([FIRST, SECOND], str(root))
    if failed := [result for result in results if result["state"] != "done"]:
        raise SystemExit(f"did not finish: {failed}")
    return seen, cpu


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10, help="updates of each fine-tuning")
    options = parser.parse_args()
    sys.path[:0] = [str(REPO / "tests" / "flows"), str(REPO)]
    os.environ["DVC_NO_ANALYTICS"] = os.environ["DO_NOT_TRACK"] = "1"
    os.environ.pop("PREFECT_API_URL", None)
    with tempfile.TemporaryDirectory(prefix="warm-worker-") as name:
        root = project(Path(name), options.steps)
        seen, cpu = marks(root)
        shutil.rmtree(root)

    def idle(clock: dict[str, float]) -> float:
        between = clock[f"{SECOND} first step"] - clock[f"{FIRST} report ends"]
        return round(between - clock[f"{SECOND} segment ends"] + clock[f"{SECOND} segment begins"], 2)

    def to_first_step(name: str) -> float:
        return round(seen[f"{name} first step"] - seen[f"{name} fine_tune begins"], 2)

    record(
        "warm worker",
        idle(seen),
        "the second subject's training begins <= 2 s after the first subject ends, its own segment not counted",
        idle(seen) <= BAR_S,
        unit="seconds",
        cpu_s=idle(cpu),
        segment_s=round(seen[f"{SECOND} segment ends"] - seen[f"{SECOND} segment begins"], 2),
        fine_tune_to_first_step_s={"first subject": to_first_step(FIRST), "second": to_first_step(SECOND)},
        load=round(os.getloadavg()[0], 1),
        includes="Prefect's subflow, DVC's status, preparing pictures; handing on runs beside it",
    )


if __name__ == "__main__":
    main()
