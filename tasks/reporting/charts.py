"""Charts as inline SVG; colours come from the page's style sheet, so that they follow light and dark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from markupsafe import Markup, escape

Point = tuple[float, float]
WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 16, 46
NO_TERMS = ("step", "loss", "learning_rate", "grad_norm", "dino")
MOST_TERMS = 4  # as many as the style sheet has colours for
MOST_POINTS = 400  # more than the eye, or a page's size, has use for


def loss_curve(rows: Sequence[Mapping[str, float]], terms: Sequence[str] = ("instance", "prior")) -> Markup:
    """The loss terms over the steps: what was measured, faint, and a running mean, bold.

    Args:
        rows: entries of curve.json; a term that no entry has is left out, and with no term at all `loss` is
            drawn.
    Returns:
        Empty where there is nothing finite to draw.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    terms = [name for name in names if name not in NO_TERMS and not name.startswith("held_")][:MOST_TERMS]
    series = {term: points for term in terms if (points := _series(rows, term))}
    series = series or ({"loss": points} if (points := _series(rows, "loss")) else {})
    if not series:
        return Markup("")
    last = max(points[-1][0] for points in series.values())
    first = min(points[0][0] for points in series.values())
    heights = sorted(y for points in series.values() for _, y in points)
    top = max(heights[min(len(heights) - 1, int(0.99 * len(heights)))] * 1.1, 1e-9)

    def place(x: float, y: float) -> Point:
        across = (x - first) / (last - first) if last > first else 0.5
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            TOP + (1 - min(y, top) / top) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_grid_lines(place, first, last, top)]
    for index, (term, points) in enumerate(series.items()):
        parts.append(_line([place(*point) for point in _thinned(points)], f"series-{index} faint"))
        parts.append(_line([place(*point) for point in _thinned(smoothed(points))], f"series-{index}"))
        for point in _thinned(_series(rows, f"held_{term}")):
            x, y = place(*point)
            parts.append(
                Markup('<circle class="series-{} dot" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(index, x, y)
            )
        parts.append(
            Markup('<rect class="series-{} key" x="{}" y="{}" width="14" height="4" rx="2"/>').format(
                index, WIDTH - RIGHT - 150, TOP + 8 + 18 * index
            )
        )
        parts.append(
            Markup('<text class="label" x="{}" y="{}">{}</text>').format(
                WIDTH - RIGHT - 128, TOP + 14 + 18 * index, term if term == "loss" else f"{term} loss"
            )
        )
    ends = ", ".join(
        f"{term} {points[0][1]:.3f} to {smoothed(points)[-1][1]:.3f}" for term, points in series.items()
    )
    return _svg(WIDTH, HEIGHT, f"Loss over {last:.0f} steps: {ends}", parts)


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Mean over a centred window of a twelfth of the points."""
    half = len(points) // 24
    sums = [0.0, *accumulate(y for _, y in points)]
    means = []
    for index, (x, _) in enumerate(points):
        first, end = max(0, index - half), min(len(points), index + half + 1)
        means.append((x, (sums[end] - sums[first]) / (end - first)))
    return means


def scale_bar(
    value: float,
    interval: tuple[float, float] | None,
    floor: float,
    ceiling: float,
    floor_name: str,
    ceiling_name: str,
) -> Markup:
    """A score with its interval on a line from floor to ceiling, longer where the score lies beyond."""
    ends = [value, floor, ceiling, *(interval or ())]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.06 or 0.5
    low, high = low - room, high + room
    width, middle, edge = 480, 30, 8

    def across(number: float) -> float:
        return round(edge + (number - low) / (high - low) * (width - 2 * edge), 1)

    def mark(number: float, name: str) -> Markup:
        anchor = (
            "start" if across(number) < width / 3 else "end" if across(number) > 2 * width / 3 else "middle"
        )
        return Markup(
            '<line class="bound" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/><text class="label" x="{0}" y="{3}" '
            'text-anchor="{4}">{5} {6:.2f}</text>'
        ).format(across(number), middle - 9, middle + 9, middle + 24, anchor, name, number)

    parts = [
        Markup('<line class="track" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(edge, width - edge, y=middle)
    ]
    parts += [mark(floor, floor_name), mark(ceiling, ceiling_name)]
    said = f"{value:.2f}"
    if interval:
        start, end = across(interval[0]), across(interval[1])
        parts.append(
            Markup('<rect class="interval" x="{}" y="{}" width="{}" height="12" rx="6"/>').format(
                start, middle - 6, round(max(end - start, 1), 1)
            )
        )
        said += f", interval {interval[0]:.2f} to {interval[1]:.2f}"
    parts.append(Markup('<circle class="value" cx="{}" cy="{}" r="6"/>').format(across(value), middle))
    parts.append(
        Markup('<text class="number" x="{}" y="{}" text-anchor="middle">{:.2f}</text>').format(
            min(max(across(value), 22), width - 22), middle - 13, value
        )
    )
    return _svg(width, 60, f"{said}; {floor_name} {floor:.2f}, {ceiling_name} {ceiling:.2f}", parts)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two ends, some `about` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    start = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(start, math.floor(high / step + 1e-9) + 1)]


def _series(rows: Sequence[Mapping[str, float]], term: str) -> list[Point]:
    pairs = ((row.get("step"), row.get(term)) for row in rows)
    return [
        (float(x), float(y))
        for x, y in pairs
        if isinstance(x, int | float) and isinstance(y, int | float) and math.isfinite(x) and math.isfinite(y)
    ]


def _thinned(points: list[Point]) -> list[Point]:
    stride = max(1, len(points) // MOST_POINTS)
    return points if stride == 1 else [*points[::stride], points[-1]]


def _grid_lines(place, first: float, last: float, top: float) -> Markup:
    def lines() -> Iterator[Markup]:
        for height in ticks(0, top):
            y = round(place(first, height)[1], 1)
            yield Markup('<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                LEFT, WIDTH - RIGHT, y=y
            )
            yield Markup('<text class="label" x="{}" y="{}" text-anchor="end">{:g}</text>').format(
                LEFT - 8, y + 4, height
            )
        for step in ticks(first, last, 6):
            x = round(place(step, 0)[0], 1)
            yield Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{:g}</text>').format(
                x, HEIGHT - BOTTOM + 18, step
            )
        yield Markup('<text class="label" x="{}" y="{}" text-anchor="middle">training step</text>').format(
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8
        )
        yield Markup(
            '<text class="label" transform="translate(14 {}) rotate(-90)" text-anchor="middle">loss</text>'
        ).format((TOP + HEIGHT - BOTTOM) / 2)

    return Markup("").join(lines())


def _line(points: Sequence[Point], kind: str) -> Markup:
    if len(points) == 1:
        return Markup('<circle class="{} dot" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(kind, *points[0])
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def _svg(width: int, height: int, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        width, height, title, escape(title), Markup("").join(parts)
    )
