"""Uploads as people make them: slow, under temporary names, renamed, packed, marked, twice, changed, bad."""

import io
import random
import tempfile
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SETTLE_S = 4.0
BAD = {
    "no_class": ("", "write `class: dog`"),
    "typo": ("clas: dog\n", "did you mean 'class'"),
    "path": ("class: dog\nname: ../../x\n", "no slug"),
    "bomb": ("class: " + "[" * 5000, "brackets"),
}


@dataclass
class Upload:
    """One drop: who it is for, which photos, and how it comes."""

    subject: str
    photos: int  # seed of the photos
    way: str
    name: str
    bad: str = ""
    after: bool = False  # only when the subject's earlier drops are done


@dataclass
class Plan:
    """All drops in order, and what must be true in the end."""

    uploads: list[Upload] = field(default_factory=list)
    contents: Counter[str] = field(default_factory=Counter)  # accepted contents of each subject
    rejected: int = 0


def planned(count: int, chance: random.Random) -> Plan:
    """Of ten drops some six are new subjects, two the same bytes again, one new photos, one is bad."""
    ways = ("slow", "temporary_files", "renamed_folder", "zip", "renamed_zip", "marker")
    plan, latest = Plan(), dict[str, int]()
    for number in range(count):
        kind = chance.choices(("new", "again", "changed", "bad"), (60, 20, 12, 8))[0] if latest else "new"
        way, name = chance.choice(ways), f"s{number:03d}"
        if kind == "bad":
            plan.uploads.append(Upload(name, number, "slow", name, bad=chance.choice(list(BAD))))
            plan.rejected += 1
            continue
        subject = name if kind == "new" else chance.choice(list(latest))
        if kind != "again":
            latest[subject] = number
            plan.contents[subject] += 1
        name = name if kind == "new" else f"{subject} drop {number}"
        plan.uploads.append(Upload(subject, latest[subject], way, name, after=kind == "changed"))
    return plan


class Dropper:
    """Uploads, each in its own time and way."""

    def __init__(self, box: Path, plan: Plan, chance: random.Random):
        self.box, self.plan, self.chance = box, plan, chance
        self.turns: dict[str, list[Upload]] = {}
        for upload in plan.uploads:
            self.turns.setdefault(upload.subject, []).append(upload)

    def run(self, spread_s: float) -> None:
        """All subjects side by side, the drops of each one in order."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda turn: self._subject(turn, spread_s), self.turns.values()))

    def _subject(self, uploads: list[Upload], spread_s: float) -> None:
        for number, upload in enumerate(uploads):
            time.sleep(self.chance.uniform(0, spread_s))
            if upload.after:
                self._wait_for(upload.subject, number)
            self._upload(upload)

    def _wait_for(self, subject: str, drops: int) -> None:
        done = self.box / "done" / subject
        while not done.exists() or len(list(done.iterdir())) < drops:
            time.sleep(1)

    def _upload(self, upload: Upload) -> None:
        order = BAD[upload.bad][0] if upload.bad else f"class: dog\nname: {upload.subject}\n"
        if upload.way in ("zip", "renamed_zip"):
            self._zip(upload, order)
            return
        place = self.box / upload.name
        folder = place.with_name(f"{upload.name}.part") if upload.way == "renamed_folder" else place
        folder.mkdir()
        (folder / "subject.yaml").write_text(order)
        for number in range(3):
            path = folder / f"{number}.png"
            writing = path.with_name(f".{path.name}.Xy12Zz") if upload.way == "temporary_files" else path
            data = photo(upload.photos, number)
            with open(writing, "wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                time.sleep(self.chance.uniform(0, SETTLE_S / 2))
                file.write(data[len(data) // 2 :])
            writing.rename(path)
        folder.rename(place)
        if upload.way == "marker":
            place.with_name(f"{place.name}.ready").touch()

    def _zip(self, upload: Upload, order: str) -> None:
        place = self.box / f"{upload.name}.zip"
        writing = place.with_name(f"{place.name}.crdownload") if upload.way == "renamed_zip" else place
        with tempfile.NamedTemporaryFile() as packed:
            with zipfile.ZipFile(packed, "w") as package:
                package.writestr(zipfile.ZipInfo("subject.yaml"), order)
                for number in range(3):
                    package.writestr(zipfile.ZipInfo(f"{number}.png"), photo(upload.photos, number))
            packed.seek(0)
            data = packed.read()
        with open(writing, "wb") as file:
            for start in range(0, len(data), len(data) // 3 + 1):
                file.write(data[start : start + len(data) // 3 + 1])
                file.flush()
                time.sleep(self.chance.uniform(0, SETTLE_S / 2))
        writing.rename(place)


def photo(seed: int, number: int) -> bytes:
    """A small picture of noise as PNG."""
    pixels = np.random.default_rng([seed, number]).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
