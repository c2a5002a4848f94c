"""bench/results/fleet.json: `{name: {figure, bar, holds}}`, one entry for each thing that was measured."""

import json
import os
from pathlib import Path
from typing import Any

from bench import provenance
from flows.lock import held
from tasks.shared.folders import staged_file

RESULTS = Path(__file__).resolve().parent.parent / "results" / "fleet.json"


def record(name: str, figure: float | str, bar: str, holds: bool, **facts: Any) -> None:
    """Write or replace an entry, and print it; benches that run side by side lose none.

    Args:
        name: what was measured, such as "isolation"; figures of one command share a prefix.
        bar: what was asked, in words.
        facts: what else a reader wants to know, such as counts and the machine.
    """
    tree = provenance.of_tree(RESULTS.parents[2])
    entry = {"figure": figure, "bar": bar, "holds": holds, **facts, **tree}
    entry["machine"] = f"{os.cpu_count()} cores"
    print(f"{name}: {figure} (bar: {bar}): {'holds' if holds else 'DOES NOT HOLD'}", flush=True)
    with held(RESULTS.with_name(".fleet.lock")):
        known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        with staged_file(RESULTS) as path:
            text = json.dumps({**known, name: entry}, indent=1, sort_keys=True, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8")
