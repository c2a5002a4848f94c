"""Are subjects that are trained eight in one step as good as each trained alone? `python -m bench.fleet.as_good`.

Compares two rows of ToyBench, subject by subject and seed by seed. They must be there: `make toybench METHOD="ROW ROW"`.
"""

from bench.fleet.record import record
from bench.toybench import results

TOGETHER, ALONE, SPLIT = "eight_at_once", "prior_weight_03", "small"
SCORES = ("sim_gt", "map", "clip_t", "class_right", "setting_right", "view_right", "pres", "div")
"""Likeness, look-alikes, the prompt, the class that is left, and how much pictures differ."""


def main() -> None:
    """Compare, print, record."""
    rows, told, within = results.read(SPLIT), dict[str, str](), 0
    for score in SCORES:
        value, interval = results.difference(rows[TOGETHER], rows[ALONE], score)
        low, high = interval or (float("nan"), float("nan"))
        told[score] = f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
        within += low <= 0 <= high
    record(
        "stacked, metrics, K=8",
        f"{within} of {len(SCORES)} scores within; likeness {told['sim_gt']}",
        "every score of a group within the interval of training alone",
        within == len(SCORES),
        differences=told,
        rows=[TOGETHER, ALONE],
        command="python -m bench.fleet.as_good",
    )


if __name__ == "__main__":
    main()
