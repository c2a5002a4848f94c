"""history, rollback and prune."""

from rich.table import Table

from flows import history as histories
from flows import workspace as workspaces
from flows.cli.subjects import console
from tasks.shared.errors import UserError


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
        ran = ", ".join(version.ran) + (
            f" [dim](bytes removed on {version.gone})[/dim]" if version.gone else ""
        )
        table.add_row(mark, str(version.number), version.when, ran, *scores)
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


def prune(names: list[str], yes: bool) -> None:
    """Show what `retention` no longer keeps; remove it when told.

    Raises:
        UserError: the remote does not answer, or a subject's objects could not be removed.
    """
    from flows import retention

    workspace = workspaces.find()
    found = retention.due(workspace, names or workspace.subjects())
    done = retention.prune(workspace, found, dry=not yes)
    for one in done:
        if not one.error:
            numbers = ", ".join(map(str, one.versions))
            verb = "removed" if yes else "would go"
            console.print(
                f"{one.subject}: versions {numbers}: {one.objects} objects, {one.bytes / 1e6:.1f} MB {verb}",
                highlight=False,
            )
    if errors := [f"{one.subject}: {one.error}" for one in done if one.error]:
        raise UserError("; ".join(errors))
    if not done:
        console.print("nothing to remove: `retention` in params.yaml keeps all there is", highlight=False)
    elif not yes:
        console.print("nothing was removed; remove it with `dreamline prune --yes`", highlight=False)
