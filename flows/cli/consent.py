"""consent show and consent revoke."""

import datetime

from rich.table import Table

from flows import consents
from flows import workspace as workspaces
from flows.cli.subjects import console
from tasks.guards import consent
from tasks.shared import params
from tasks.shared.errors import UserError


def show(names: list[str]) -> None:
    """A line per person: until when consent holds, for what, or why it does not."""
    workspace = workspaces.find()
    table = Table("person", "holds until", "for", "", box=None, pad_edge=False, header_style="bold")
    table.columns[3].overflow = "fold"
    for subject in map(workspace.subject, names or workspace.subjects()):
        if subject.identity.kind != "person":
            continue
        if refused := consents.refusal(subject):
            table.add_row(subject.name, "", "", f"[red]{refused}[/red]")
            continue
        path = consent.record_of(subject.identity, subject.folder)
        record = params.validate(consent.Record, params.read_yaml(path), str(path))
        table.add_row(subject.name, str(record.revoked or record.expires), ", ".join(record.purposes), "")
    if table.row_count:
        console.print(table)
    else:
        console.print("no subject is a person", highlight=False)


def revoke(name: str, day: str | None) -> None:
    """Write the day into the record, and say what is left to do."""
    subject = workspaces.find().subject(name)
    try:
        when = datetime.date.fromisoformat(day) if day else datetime.date.today()
    except ValueError as error:
        raise UserError(f"--from {day}: expected a day such as 2026-11-02") from error
    consents.revoke(subject, when)
    console.print(
        f"{name}: consent is revoked from {when} on; nothing is made of {name} any more", highlight=False
    )
    console.print(f"next: dreamline remove {name} --everywhere", highlight=False)
