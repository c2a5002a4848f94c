"""How long stages took on this machine, for an honest "about 40 s"."""

import json
from statistics import median

from flows.workspace import Workspace
from tasks.shared.folders import staged_file

KEPT = 2000
"""Lines kept when the file is shortened."""


def record(workspace: Workspace, subject: str, stage: str, seconds: float) -> None:
    """Remember a finished stage. One short appended line each, so parallel writers need no lock."""
    path = workspace.state / "timings.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"subject": subject, "stage": stage, "seconds": round(seconds, 3)})
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def forget(workspace: Workspace, subject: str) -> None:
    """Take a removed subject's name out of the measurements; how long its stages took stays."""
    path = workspace.state / "timings.jsonl"
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            kept.append(json.dumps(entry | {"subject": ""}) if entry["subject"] == subject else line)
        except (ValueError, KeyError, TypeError):
            continue
    with staged_file(path) as fresh:
        fresh.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


class Timings:
    """What was measured so far, read once."""

    def __init__(self, workspace: Workspace):
        path = workspace.state / "timings.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()[-KEPT:] if path.exists() else []
        self._own: dict[tuple[str, str], float] = {}
        self._all: dict[str, list[float]] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                subject, stage, seconds = entry["subject"], entry["stage"], float(entry["seconds"])
            except (ValueError, KeyError, TypeError):
                continue  # a line cut short by a crash costs an estimate, nothing else
            self._own[subject, stage] = seconds
            self._all.setdefault(stage, []).append(seconds)

    def about_s(self, subject: str, stages: list[str]) -> float | None:
        """Expected seconds of some stages: the subject's last, else the median of all; None without any."""
        total = 0.0
        for stage in stages:
            own = self._own.get((subject, stage))
            if own is None and stage not in self._all:
                return None
            total += own if own is not None else median(self._all[stage])
        return total


def words(seconds: float | None) -> str:
    """ "about 40 s", "about 3 min", "duration unknown"."""
    if seconds is None:
        return "duration unknown"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
