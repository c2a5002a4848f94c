"""demo: a bundled subject from photos to report, by the commands that a person would type."""

from rich.console import Console

from flows import workspace as workspaces
from flows.cli import running, subjects

NAME, CLASS_WORD = "miso", "cat"
notes = Console(stderr=True, highlight=False)


def demo() -> None:
    """Add the bundled photos if they are not there yet, and bring the subject up to date."""
    workspace = workspaces.find()
    if NAME not in workspace.subjects():
        photos = workspace.root / "data" / "demo" / NAME
        notes.print(f"$ dreamline add {photos.relative_to(workspace.root)} --class {CLASS_WORD}")
        subjects.add([photos], NAME, None, {"class": CLASS_WORD})
    notes.print(f"$ dreamline run {NAME}")
    running.run([NAME], stale=False)
    notes.print("Open the page above in a browser. Your own: dreamline add ~/photos/rex --class dog")
