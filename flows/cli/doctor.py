"""Is this machine ready? One line per question; exit code 1 if something would stop a run."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import typer
from rich.console import Console

from flows import workspace as workspaces
from flows.store import remote
from flows.workspace import Workspace
from tasks.shared import settings
from tasks.shared.errors import UserError

console = Console(highlight=False)
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """`good` None: worth knowing, stops nothing."""

    what: str
    good: bool | None
    says: str


def examine() -> None:
    """Print what was found."""
    workspace = workspaces.find()
    stops = False
    for question in (python, disk, memory, gpu, remote_reachable, base_loads):
        for finding in _asked(question, workspace):
            mark = {True: "[green]ok[/green]  ", False: "[red]no[/red]  ", None: "    "}[finding.good]
            console.print(mark, end="")
            console.print(f"{finding.what:<12}{finding.says}", markup=False)
            stops |= finding.good is False
    if stops:
        raise typer.Exit(1)


def _asked(question: Callable[[Workspace], Iterator[Finding]], workspace: Workspace) -> list[Finding]:
    try:
        return list(question(workspace))
    except UserError as error:
        return [Finding(question.__name__.replace("_", " "), False, str(error))]


def python(workspace: Workspace) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "Python", sys.version_info[:2] == (3, 11), f"{version} (3.11 is what the locked versions need)"
    )


def disk(workspace: Workspace) -> Iterator[Finding]:
    free = shutil.disk_usage(workspace.root).free / GIB
    yield Finding("disk", free > 2, f"{free:.0f} GiB free here (a subject on the miniature needs some 50 MB)")
    if not os.access(workspace.root, os.W_OK):
        yield Finding("disk", False, f"{workspace.root}: not writable for you")


def memory(workspace: Workspace) -> Iterator[Finding]:
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    yield Finding(
        "memory", total > 3, f"{total:.0f} GiB, {pages:.0f} GiB of it unused; {os.cpu_count()} cores"
    )


def gpu(workspace: Workspace) -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        yield Finding("GPU", True, f"{facts.name}, {facts.total_memory / GIB:.0f} GiB")
    else:
        yield Finding("GPU", None, "none; the CPU does it, slower")


def remote_reachable(workspace: Workspace) -> Iterator[Finding]:
    yield Finding("remote", True, remote.probe(workspace, deadline_s=15))


def base_loads(workspace: Workspace) -> Iterator[Finding]:
    from tasks.backbones.base import open_base

    base = settings.load(workspace.params_file).base
    backbone = open_base(base)
    identity = backbone.identity
    yield Finding("base", True, f"{identity['model']} loads, {backbone.size_px} px")
    pinned = base.revision == identity["revision"]
    says = (
        identity["revision"]
        if pinned
        else f"{identity['revision']}; params.yaml: base.revision: {base.revision}"
    )
    yield Finding("revision", True if pinned else None, says)
