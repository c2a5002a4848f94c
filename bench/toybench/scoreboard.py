"""docs/scoreboard.md, made from the committed results: rows, kinds of prompts, difficulties, claims."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.toybench import results, settings
from bench.toybench.scores import LOWER, PER_PICTURE
from bench.toybench.settings import SPLITS, UNTRAINED
from tasks.shared.folders import staged_file
from tasks.shared.params import read_yaml

CLAIMS = Path(__file__).with_name("claims.yaml")
HEAD = """# Scoreboard

Made by `python -m bench.toybench` from `bench/toybench/results/`; not edited by hand. What is measured and how:
`bench/toybench/`. Intervals: 95 %, bootstrap over subjects and seeds. **sim_gt**: the subject alone against itself in
the true picture of the prompt; **sim_ref**: against the photos; **copy_paste**: 1 = like the photos, -1 = like the
truth, less is better; **twin_right**: nearer to itself than to a twin with another decal; **rank1**, **map**: found in a
gallery of look-alikes; **class/setting/view_right**: what the bench's judge sees is what was asked; **leak**: the
setting it sees is one of the photos', less is better; **fine_tune_s**, **sample_s**: the median subject's. Rows compare
within a split only, and only under one harness."""
EARLIER = """Measured before a judge, the segmenter or the bench itself changed; rows of this section compare with each
other, not with those above."""
Content = dict[str, Any]


def write(path: Path) -> None:
    """Make the page."""
    pieces = [HEAD, *_validation()]
    for split in SPLITS:
        size = f"{len(SPLITS[split][0])} subjects x {len(SPLITS[split][1])} seeds"
        for number, (harness, rows) in enumerate(results.by_harness(split).items()):
            pieces.append(
                f"## {split}: {size}" if not number else f"## {split}, by the earlier harness {harness}"
            )
            pieces += ([EARLIER] if number else []) + _split(rows)
    pieces += _styles()
    with staged_file(path) as fresh:
        fresh.write_text("\n\n".join(pieces) + "\n", encoding="utf-8")


def _validation() -> list[str]:
    """What the judge of likeness made of pairs whose order is known."""
    path = results.FOLDER / "validation.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    orders = [[order, f"{share:.0%}"] for order, share in found["orders"].items()]
    levels = [[level, f"{likeness:.2f}"] for level, likeness in found["likeness"].items()]
    return [
        "## Is the judge of likeness to be believed?",
        f"{found['pictures']} true pictures, likeness to the photos (`python -m bench.toybench.validation`):",
        _table(["known to be better > known to be worse", "so ordered"], orders),
        _table(["what is shown", "mean likeness"], levels),
    ]


def _styles() -> list[str]:
    """The ten style sets, whose scores are others; those of the latest harness."""
    groups = list(results.by_harness("styles").values())
    if not groups:
        return []
    rows = sorted(groups[0].values(), key=lambda row: (row["name"] not in UNTRAINED, row["name"]))
    names = list(rows[0]["scores"])
    per_style = sorted({style for row in rows for style in row["per_style"]})
    return [
        "## styles: 10 sets of five pictures, ten prompts each x 2 seeds",
        "**style_right**: of the ten styles' true pictures those of its own are nearest (chance: 0.1); **style_sim**: cosine "
        "with their mean, in whitened statistics of the eye's first two stages; **class_right**, **setting_right**: as the "
        "eye sees it, which was never taught these styles: read them beside the ceiling's "
        "(`python -m bench.toybench.style_bench`).",
        _table(["row", *names], [[_named(row), *(_cell(row, name) for name in names)] for row in rows]),
        "style_right by style:",
        _table(
            ["row", *per_style],
            [
                [
                    row["name"],
                    *(
                        f"{row['per_style'].get(style, {}).get('style_right', float('nan')):.2f}"
                        for style in per_style
                    ),
                ]
                for row in rows
            ],
        ),
    ]


def verdict(claim: Content, rows: dict[str, Content]) -> tuple[str, str]:
    """What became of a claim, and the difference it rests on: holds, reversed, not seen, or not measured."""
    left, right = rows.get(claim["left"]), rows.get(claim["right"])
    if left is None or right is None:
        return "not measured", ""
    if why := results.incomparable(left, right):
        return "not measured", why
    value, interval = results.difference(left, right, claim["score"])
    if interval is None:
        return "not seen", f"{value:+.3f}, no interval"
    word = "holds" if interval[0] > 0 else "reversed" if interval[1] < 0 else "not seen"
    return word, f"{value:+.3f} [{interval[0]:+.3f}, {interval[1]:+.3f}]"


def _of_subjects(row: Content, name: str) -> float:
    """Mean over a row's subjects; of seconds the median, since a subject's run may have been held up."""
    if name.endswith("_s"):
        return float(np.median([values.get(name, np.nan) for values in row["per_subject"].values()]))
    return float(row["subjects"].get(name, np.nan))


def _split(rows: dict[str, Content]) -> list[str]:
    order = sorted(rows.values(), key=lambda row: (row["name"] not in UNTRAINED, row["name"]))
    newest = max(
        (row for row in order if results.cut_by(row)), key=lambda row: row.get("when", ""), default=None
    )
    pieces = [
        _table(
            ["row", *PER_PICTURE],
            [[_named(row, newest), *(_cell(row, name) for name in PER_PICTURE)] for row in order],
        )
    ]
    pieces.append("(x - floor) / (ceiling - floor), where floor is `base`:")
    pieces.append(_normalised(rows, order))
    extra = ("pres", "drift", "div", "class_div", "parameters", "bytes", "fine_tune_s", "sample_s")
    tuned = [row for row in order if row["subjects"]]
    if tuned:
        pieces.append(
            _table(
                ["row", *extra, "peak MB"],
                [
                    [
                        row["name"],
                        *(f"{_of_subjects(row, name):g}" for name in extra),
                        str(row["peak_memory_mb"]),
                    ]
                    for row in tuned
                ],
            )
        )
    for title, key in (("prompt kind", "by_kind"), ("difficulty", "by_difficulty")):
        groups = sorted({group for row in order for group in row[key]})
        pieces.append(f"sim_gt / map by {title}:")
        pieces.append(
            _table(
                ["row", *groups],
                [[row["name"], *(_pair(row[key].get(group, {})) for group in groups)] for row in order],
            )
        )
    pieces.append("### Claims")
    found = [(claim, *verdict(claim, rows)) for claim in read_yaml(CLAIMS)["claims"]]
    pieces.append(
        _table(
            ["claim", "source", "difference", "verdict"],
            [
                [
                    claim["says"],
                    claim["source"],
                    f"{claim['score']}: {said}" if said else claim["score"],
                    f"**{word}**",
                ]
                for claim, word, said in found
            ],
        )
    )
    return pieces


def _normalised(rows: dict[str, Content], order: Sequence[Content]) -> str:
    floor, ceiling = rows.get("base"), rows.get("ceiling")
    if floor is None or ceiling is None:
        return "(the rows `base` and `ceiling` are missing)"
    names = [n for n in PER_PICTURE if n not in LOWER and floor["scores"].get(n) and ceiling["scores"].get(n)]

    def place(row: Content, name: str) -> str:
        low, high = floor["scores"][name]["value"], ceiling["scores"][name]["value"]
        found = row["scores"].get(name)
        if not found or high - low < 0.02:
            return "-"
        return f"{(found['value'] - low) / (high - low):.2f}"

    return _table(["row", *names], [[row["name"], *(place(row, name) for name in names)] for row in order])


def _named(row: Content, newest: Content | None = None) -> str:
    """A row's name, and what keeps it from being compared with the one measured last."""
    known = settings.read(row["name"]).says if row["name"] in settings.names() else row["says"]
    why = results.incomparable(row, newest) if newest else None
    by = f" (beside the latest row: {why})" if why else ""
    return f"`{row['name']}` {known}{by}" + (" (dirty tree)" if row["dirty"] else "")


def _cell(row: Content, name: str) -> str:
    found = row["scores"].get(name)
    if not found:
        return "-"
    if "low" not in found:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _pair(values: Content) -> str:
    return " / ".join(f"{values[name]:.2f}" if name in values else "-" for name in ("sim_gt", "map"))


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
