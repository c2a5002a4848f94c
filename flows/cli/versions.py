"""history and rollback."""

from rich.table import Table

from flows import history as histories
from flows import workspace as workspaces
from flows.cli.subjects import console


def history(name: str) -> None:
    """A line per version; a star marks the one that the subject is now."""
    subject = workspaces.find().subject(name)
    found, now = histories.read(subject), histories.current(subject)
    if not found:
        console.print(f"{name}: no version yet; make one: dreamline run {name}", highlight=False)
        return
    shown = [score for score in histories.SCORES if any(score in version.scores for version in found)]
    table = Table("", "version", "when", "ran", *shown, box=None, pad_edge=False, header_style="bold")
    table.columns[3].overflow = "fold"
    for version in found:
        scores = [f"{version.scores[score]:.3f}" if score in version.scores else "" for score in shown]
        mark = "*" if version.number == now else ""
        table.add_row(mark, str(version.number), version.when, ", ".join(version.ran), *scores)
    console.print(table)


def rollback(name: str, number: int) -> None:
    """Go back, and say what the next run would do under the params of today."""
    from flows.store import staleness

    workspace = workspaces.find()
    histories.roll_back(workspace.subject(name), number)
    console.print(f"{name} is version {number} again", highlight=False)
    stale = [verdict for forecast in staleness.forecasts(workspace, [name]) for verdict in forecast.to_run]
    if stale:
        why = "; ".join(f"{verdict.stage.name}: {verdict.why}" for verdict in stale if not verdict.after)
        console.print(f"params have changed since, so that the next run would redo: {why}", highlight=False)
