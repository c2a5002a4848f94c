"""Which tree and machine a figure comes from, and when it was taken."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

WRITTEN = (":!bench/toybench/results", ":!bench/results", ":!docs/scoreboard.md")
"""What benches write themselves: it makes no tree dirty."""


def of_tree(project: Path) -> dict[str, Any]:
    """Commit, whether the tree had changes, the machine, and when."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True)
        return done.stdout.strip()

    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
    }
