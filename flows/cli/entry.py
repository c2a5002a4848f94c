"""Commands and their options. Bodies import what they need when they run, so that `--help` is immediate."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import errors

app = typer.Typer(
    name="dreamline",
    help="Photos of a subject in; a personalised model, pictures and an honest report out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug anywhere shows the traceback of an error.",
)
Names = Annotated[list[str] | None, typer.Argument(help="subjects; none means all of them")]
Deadline = Annotated[float, typer.Option(min=1, help="seconds after which a transfer is given up")]
Remote = Annotated[str | None, typer.Option(help="name of a DVC remote; default: the one in .dvc/config")]


@app.command()
def add(
    sources: Annotated[
        list[Path], typer.Argument(help="a folder, a zip, or photo files", show_default=False)
    ],
    class_word: Annotated[
        str | None, typer.Option("--class", help="what the subject is: dog, vase, backpack")
    ] = None,
    name: Annotated[str | None, typer.Option(help="default: made from the folder's name")] = None,
    identifier: Annotated[
        str | None, typer.Option(help="rare token that stands for the subject [default: sks]")
    ] = None,
    method: Annotated[str | None, typer.Option(help="a file of tasks/methods/ [default: dreambooth]")] = None,
    kind: Annotated[
        str | None, typer.Option(help="object, animal, style or person [default: object]")
    ] = None,
    consent: Annotated[Path | None, typer.Option(help="consent record, needed for a person")] = None,
) -> None:
    """Make a subject from photos, or give an existing one new photos."""
    from flows.cli import subjects

    identity = {"class": class_word, "identifier": identifier, "method": method, "kind": kind}
    subjects.add(sources, name, consent, identity)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="subjects, in this order")] = None,
    stale: Annotated[bool, typer.Option("--stale", help="all subjects that are not up to date")] = False,
) -> None:
    """Bring subjects up to date: what is stale runs, the rest is left alone."""
    from flows.cli import running

    running.run(names or [], stale)


@app.command()
def status(names: Names = None) -> None:
    """What is stale and why, and about how long it would take."""
    from flows.cli import subjects

    subjects.status(names or [])


@app.command()
def plan(
    names: Names = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="try a change: fine_tune.max_train_steps=400; asks before making it"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="make the change, do not ask")] = False,
) -> None:
    """For the whole fleet: which stages would run, why, about how long, how much disk."""
    from flows.cli import planning

    planning.plan(names or [], param or [], yes)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="subject")],
    browser: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Where a subject's report is."""
    from flows.cli import subjects

    subjects.report(name, browser)


@app.command()
def verify(names: Names = None) -> None:
    """From pictures back to photos: is every file what its stage wrote, from what lies before it?"""
    from flows.cli import subjects

    subjects.verify(names or [])


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(help="subjects")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="all versions too, in the cache and at the remote; logged")
    ] = False,
) -> None:
    """Delete subjects; without --everywhere recorded versions stay in cache and remote until `dvc gc`."""
    from flows.cli import subjects

    subjects.remove(names, yes, everywhere)


@app.command()
def history(name: Annotated[str, typer.Argument(help="subject")]) -> None:
    """All versions of a subject, with their scores."""
    from flows.cli import versions

    versions.history(name)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="subject")],
    number: Annotated[int, typer.Argument(min=1, help="version, as `history` numbers them")],
) -> None:
    """Make a subject what it was in a version: its settings, photos and every output."""
    from flows.cli import versions

    versions.rollback(name, number)


consents = typer.Typer(
    help="Consent of persons: show it, revoke it.", no_args_is_help=True, add_completion=False
)
app.add_typer(consents, name="consent")


@consents.command("show")
def consent_show(names: Names = None) -> None:
    """Until when consent holds, and for what."""
    from flows.cli import consent

    consent.show(names or [])


@consents.command("revoke")
def consent_revoke(
    name: Annotated[str, typer.Argument(help="subject")],
    day: Annotated[str | None, typer.Option("--from", help="YYYY-MM-DD [default: today]")] = None,
) -> None:
    """Note that a person has taken consent back: nothing runs any more, and removal is asked for."""
    from flows.cli import consent

    consent.revoke(name, day)


@app.command()
def prune(
    names: Names = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="remove them; without it only shown")] = False,
) -> None:
    """Old versions that `retention` in params.yaml no longer keeps: their objects in cache and remote."""
    from flows.cli import versions

    versions.prune(names or [], yes)


@app.command()
def push(names: Names = None, deadline: Deadline = 600, remote: Remote = None) -> None:
    """Copy subjects with their class images to the DVC remote."""
    from flows.cli import moving

    moving.transfer("push", names or [], deadline, remote)


@app.command()
def pull(names: Names = None, deadline: Deadline = 600, remote: Remote = None) -> None:
    """Bring subjects with their class images from the DVC remote."""
    from flows.cli import moving

    moving.transfer("pull", names or [], deadline, remote)


@app.command()
def nightly() -> None:
    """What `serve` does at night, now: all stale subjects, then the report of the fleet."""
    from flows.cli import running

    running.nightly()


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="port on this machine")] = 4200) -> None:
    """Prefect's own page with all runs, until Ctrl-C."""
    from flows.cli import services

    services.ui(port)


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="port of the page with all runs")] = 4200,
) -> None:
    """Wait for work: runs asked for in the UI, the nightly run, new folders in data/inbox/. Until Ctrl-C."""
    from flows.cli import services

    services.serve(port)


@app.command()
def demo() -> None:
    """Personalise the bundled subject and say where its report is."""
    from flows.cli import demo

    demo.demo()


@app.command()
def doctor() -> None:
    """Can this machine do it? Python, disk, memory, GPU, remote, and whether the base model loads."""
    from flows.cli import doctor

    doctor.examine()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 declined or not healthy, 2 a mistake to mend."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    given = [argument for argument in arguments if argument != "--debug"]
    sys.exit(errors.exit_code(lambda: app(given, prog_name="dreamline"), debug))
