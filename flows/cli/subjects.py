"""add, status, report, remove."""

import webbrowser
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from flows import workspace as workspaces
from tasks.shared.errors import Transient, UserError

console = Console(soft_wrap=True)
if not console.is_terminal:
    console.width = 200  # for scripts: a line per row
notes = Console(stderr=True, highlight=False, soft_wrap=True)


def add(sources: list[Path], name: str | None, consent: Path | None, identity: dict[str, Any]) -> None:
    """Ingest photos and say what became of them."""
    from flows import adding

    workspace = workspaces.find()
    added = adding.add(workspace, sources, name, consent, **identity)
    subject = added.subject
    for remark in added.remarks:
        notes.print(f"  {remark}", markup=False)
    for word in adding.unknown_words(workspace, subject.identity.phrase):
        notes.print(
            f"  warning: the base spells {word!r} out letter by letter: it hardly knows the word; try another"
        )
    what = "is new" if added.new else "has new photos"
    console.print(
        f"{subject.name} {what}: {added.accepted} photos of a {subject.identity.class_word}", highlight=False
    )
    console.print(f"next: dreamline run {subject.name}", highlight=False)


def status(names: list[str]) -> None:
    """A line per subject, and the reasons of what is stale."""
    from flows.store import recalls, staleness
    from flows.store.untouched import Untouched
    from flows.timings import Timings, words

    workspace = workspaces.find()
    memory = None if names else Untouched(workspace)
    forecasts = staleness.forecasts(workspace, names or workspace.subjects(), memory, recalls.foresee)
    if not forecasts:
        console.print("no subjects yet; make one: dreamline add ~/photos/rex --class dog")
        return
    timings = Timings(workspace)
    table = Table("subject", "stage", "why", "about", box=None, pad_edge=False, header_style="bold")
    table.columns[2].overflow = "fold"
    for forecast in forecasts:
        if forecast.error:
            table.add_row(forecast.name, "", f"[red]{forecast.error}[/red]", "")
            continue
        if forecast.fresh:
            table.add_row(forecast.name, "", "up to date", "")
            continue
        if forecast.photos:
            table.add_row(forecast.name, "photos", f"{forecast.photos}: nothing to compute", "")
        for verdict in forecast.verdicts:
            if not verdict.fresh:
                there = verdict.restorable or verdict.recalled
                about = "" if there else words(timings.about_s(forecast.name, [verdict.stage.name]))
                table.add_row(forecast.name, verdict.stage.name, verdict.why, about)
    console.print(table)
    stages = [
        (forecast.name, verdict.stage.name) for forecast in forecasts for verdict in forecast.to_compute
    ]
    if stages:
        each = [timings.about_s(name, [stage]) for name, stage in stages]
        total = None if None in each else sum(value for value in each if value is not None)
        console.print(f"{len(stages)} stages to run, {words(total)}", highlight=False)


def verify(names: list[str]) -> None:
    """Check the chain of every subject.

    Raises:
        UserError: something is not what it says; names the files.
    """
    from flows import verify

    workspace = workspaces.find()
    faults = []
    for name in names or workspace.subjects():
        links = verify.chain(workspace.subject(name))
        found = [f"{link.folder}: {fault}" for link in links for fault in link.faults]
        files, stages = sum(link.files for link in links), ", ".join(link.stage for link in links)
        if not found:
            console.print(f"{name}: {files} files of {stages}: all as written", highlight=False)
        faults += found
    if faults:
        again = "restore with `dvc checkout`, or delete the folder and run again"
        raise UserError("\n".join([*faults, again]))


def report(name: str, browser: bool) -> None:
    """Print the path of a report; the only line on stdout, for scripts."""
    page = workspaces.find().subject(name).report
    if not page.exists():
        raise UserError(f"{page}: not made yet; run `dreamline run {name}`")
    print(page)
    if browser:
        webbrowser.open(page.as_uri())


def remove(names: list[str], yes: bool, everywhere: bool) -> None:
    """Ask, then delete."""
    from flows import adding, erasure, run_history
    from flows.store import departed, sharing

    workspace = workspaces.find()
    subjects = [workspace.subject(name) for name in names]
    if not yes:
        versions = ", all versions, in the cache and at the remote" if everywhere else ""
        typer.confirm(f"Delete {', '.join(names)} and everything made of them{versions}?", abort=True)
    shared = everywhere and sharing.on(workspace)
    if shared:
        sharing.take(workspace)
    for subject in subjects:
        if everywhere:
            record = erasure.everywhere(subject)
            left = run_history.forget(workspace, subject.name)
            console.print(
                f"{subject.name} removed: {record.objects} objects of {record.versions} versions, "
                f"{record.kept} kept for others; noted in {departed.LOG}",
                highlight=False,
            )
            console.print(
                f"{left}; git keeps what was committed: texts and digests, no picture", highlight=False
            )
            continue
        adding.remove(subject)
        console.print(f"{subject.name} removed", highlight=False)
    if shared:
        try:
            sharing.withdraw(workspace, names, f"{', '.join(names)}: removed everywhere")
            sharing.take(workspace)
        except (UserError, Transient) as error:
            folders = " ".join(f"data/subjects/{name}" for name in names)
            raise UserError(
                f"removed here and at the DVC remote, but other machines do not know it yet: {error}; once git's remote is "
                f"back: `git rm -r -q {folders} && git add {departed.LOG} && git commit -m removed && git push`"
            ) from error
        console.print("handed on: other machines clear their caches when they next take the fleet's news")
