"""Are subjects that are trained eight in one step as good as each trained alone? `python -m bench.fleet.as_good`.

Compares two rows of ToyBench, subject by subject and seed by seed; make them first: `make toybench METHOD="prior_weight_03 eight_at_once"`.
"""

from bench.fleet.record import record
from bench.toybench import results

TOGETHER, ALONE, SPLIT = "eight_at_once", "prior_weight_03", "small"
SCORES = ("sim_gt", "map", "clip_t", "class_right", "setting_right", "view_right", "pres", "div")
"""Likeness, look-alikes, the prompt, the class that is left, and how much pictures differ."""


def main() -> None:
    """Compare, print, record."""
    rows = results.read(SPLIT)
    found = {score: results.difference(rows[TOGETHER], rows[ALONE], score) for score in SCORES}
    told = {
        score: f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
        for score, (value, interval) in found.items()
        if interval
        for low, high in [interval]
    }
    within = [score for score, (_, interval) in found.items() if interval and interval[0] <= 0 <= interval[1]]
    record(
        "stacked, metrics, K=8",
        f"{len(within)} of {len(SCORES)} scores within; likeness {told['sim_gt']}",
        "every score of a group within the interval of training alone",
        len(within) == len(SCORES),
        differences=told,
        rows=[TOGETHER, ALONE],
        command="python -m bench.fleet.as_good",
    )


if __name__ == "__main__":
    main()
