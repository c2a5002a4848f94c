"""Class pictures that are finished, kept outside the output so that a killed run goes on where it stopped."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.shared import manifest
from tasks.shared.errors import UserError
from tasks.shared.folders import read_mapping, staged_file

log = logging.getLogger(__name__)


class Store:
    """Finished pictures of one key; those of another key are dropped.

    A picture is finished when its entry is there: {index, file or None, seed, attempt, reasons}.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]):
        self.folder, self.key = folder, json.loads(json.dumps(key))
        state = read_mapping(folder / "state.json")
        if state.get("key") != self.key:
            shutil.rmtree(folder, ignore_errors=True)
            state = {}
        self.judge_knows_class: bool | None = state.get("judge_knows_class")
        self._remember()

    def entry(self, index: int) -> dict[str, Any]:
        """Of one picture; empty while it is not finished."""
        found = read_mapping(self.folder / f"{index:04d}.json")
        if found.get("file") and not (self.folder / found["file"]).is_file():
            return {}
        return found

    def finish(self, index: int, **facts: Any) -> None:
        """Write an entry; its picture must be there already."""
        _write_json(self.folder / f"{index:04d}.json", {"index": index, **facts})

    def know(self, judge_knows_class: bool) -> None:
        """Remember what the first batch said about the judge."""
        self.judge_knows_class = judge_knows_class
        self._remember()

    def adopt(self, out: Path) -> None:
        """Take over the pictures of an earlier, finished run of the same key, except damaged ones."""
        try:
            earlier = manifest.read(out, "class_prior")
        except UserError:
            return
        if earlier.get("key") != self.key:
            return
        self.know(earlier["judge_knows_class"])
        for entry in earlier["pictures"]:
            if self.entry(entry["index"]):
                continue
            name = entry["file"]
            if name:
                if not (out / name).is_file() or manifest.digest(out / name) != earlier["files"].get(name):
                    log.warning("class_prior: %s is missing or damaged; drawn again", out / name)
                    continue
                shutil.copyfile(out / name, self.folder / name)
            self.finish(**entry)

    def remove(self) -> None:
        """The output is finished; nothing to resume."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remember(self) -> None:
        _write_json(
            self.folder / "state.json", {"key": self.key, "judge_knows_class": self.judge_knows_class}
        )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with staged_file(path) as fresh:
        fresh.write_text(json.dumps(content), encoding="utf-8")
