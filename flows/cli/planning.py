"""plan: what would run, for everybody, and what a change would cost."""

import typer
from rich.table import Table

from flows import planning
from flows import workspace as workspaces
from flows.cli.subjects import console
from flows.store import recalls, staleness
from flows.store.untouched import Untouched
from flows.timings import words


def plan(names: list[str], texts: list[str], yes: bool) -> None:
    """Show the plan; with changes of params, ask and make them.

    Raises:
        UserError: a change is wrong, or a subject's plan cannot be read.
    """
    workspace = workspaces.find()
    wanted = planning.changes(workspace, texts)
    memory = None if names or wanted else Untouched(workspace)  # a change is tried on everybody
    forecasts = staleness.forecasts(workspace, names or workspace.subjects(), memory, recalls.foresee)
    if wanted:
        planning.check(workspace, wanted, forecasts)
        forecasts = planning.with_changes(forecasts, workspace.params_file, wanted)
    jobs = planning.jobs(workspace, forecasts)
    table = Table("stage", "subjects", "why", "about", "disk", box=None, pad_edge=False, header_style="bold")
    table.columns[2].overflow = "fold"
    for job in jobs:
        who = ", ".join(job.subjects) if len(job.subjects) <= 3 else f"{len(job.subjects)} subjects"
        table.add_row(job.stage, who, job.why, words(job.seconds), _size(job.bytes))
    for forecast in forecasts:
        if forecast.error:
            table.add_row("", forecast.name, f"[red]{forecast.error}[/red]", "", "")
    if table.row_count:
        console.print(table)
    seconds = [job.seconds for job in jobs]
    total = None if None in seconds else sum(value for value in seconds if value is not None)
    disk = sum(job.bytes or 0 for job in jobs)
    stages = sum(len(job.subjects) for job in jobs)
    stale = (verdict for forecast in forecasts for verdict in forecast.to_run)
    known = len({verdict.stage.target for verdict in stale if verdict.recalled})
    back = f"{known} made before and brought back" if known else ""
    runs = f"{stages} stages to run, {words(total)}, {_size(disk)} to write" if jobs else ""
    console.print("; ".join(filter(None, (runs, back))) or "nothing to run", highlight=False)
    if wanted:
        if not yes:
            told = ", ".join(f"{change.key}: {change.old} -> {change.new}" for change in wanted)
            typer.confirm(f"Change params.yaml ({told})?", abort=True)
        planning.apply(workspace, wanted)
        console.print("params.yaml changed; next: dreamline run --stale", highlight=False)


def _size(count: int | None) -> str:
    if count is None:
        return "size unknown"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
