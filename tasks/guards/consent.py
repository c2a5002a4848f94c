"""Nobody is personalised who has not agreed: a person needs a consent record, valid now and for this purpose.

The record is a YAML file beside subject.yaml, named by its key `consent`:

    given_by: the person, or who answers for them   # stays in this file; no output repeats it
    date: 2026-03-01
    purposes: [ingest, train, sample]
    expires: 2027-03-01
    revoked: 2026-11-02                              # once it is; `dreamline consent revoke` writes it
"""

import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from tasks.guards import base
from tasks.shared import params
from tasks.shared.errors import UserError
from tasks.shared.subject import Subject

Purpose = Literal["ingest", "train", "sample"]


class Record(params.Params):
    """A person's agreement."""

    given_by: str = Field(min_length=1, description="who agreed")
    date: datetime.date = Field(description="day of the agreement, YYYY-MM-DD")
    purposes: tuple[Purpose, ...] = Field(min_length=1, description="what was agreed to")
    expires: datetime.date = Field(description="last day on which it holds, YYYY-MM-DD")
    revoked: datetime.date | None = Field(
        default=None, description="day from which it no longer holds, YYYY-MM-DD"
    )


def require(
    subject: Subject | None, folder: Path | None, purpose: str, today: datetime.date | None = None
) -> None:
    """Return if the subject is no person, or if its consent record allows `purpose` today.

    Args:
        folder: where subject.yaml and the record lie.
        today: default: the machine's date.
    Raises:
        UserError: there is no such record, or it does not hold.
    """
    record = standing(subject, folder, today)
    if record is not None and purpose not in record.purposes:
        assert subject is not None and folder is not None
        allowed = ", ".join(record.purposes)
        raise UserError(
            f"{record_of(subject, folder)}: consent is for {allowed}, not for {purpose!r}; "
            "ask, then add it to `purposes`"
        )


def standing(
    subject: Subject | None, folder: Path | None, today: datetime.date | None = None
) -> Record | None:
    """The record that holds today, whatever it allows; None for a subject that is no person.

    Raises:
        UserError: there is none, or it has not begun, has expired or was revoked.
    """
    if subject is None or subject.kind != "person":
        return None
    path = record_of(subject, folder)
    record = params.validate(Record, params.read_yaml(path), str(path))
    today = today or datetime.date.today()
    if record.revoked is not None and record.revoked <= today:
        raise UserError(f"{path}: consent was revoked on {record.revoked}; {_remove(subject)}")
    if record.date > today:
        raise UserError(f"{path}: consent begins on {record.date}, today is {today}; wait, or correct `date`")
    if record.expires < today:
        raise UserError(
            f"{path}: consent expired on {record.expires}; ask again and renew the record, or {_remove(subject)}"
        )
    return record


def record_of(subject: Subject, folder: Path | None) -> Path:
    """Where the record of a person lies.

    Raises:
        UserError: there is none, or it lies elsewhere.
    """
    if not subject.consent or folder is None:
        raise UserError(
            f"subject {subject.name!r} is a person but subject.yaml names no `consent` record; "
            "without one nothing is made of a person"
        )
    path = (folder / subject.consent).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(
            f"subject.yaml: consent: {subject.consent!r} lies outside the subject's folder; "
            "put it beside subject.yaml"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such consent record; write given_by, date, purposes and expires into it")
    return path


def _remove(subject: Subject) -> str:
    return f"remove what was made with `dreamline remove {subject.name} --everywhere`"


class Guard(base.Guard):
    """Asks for the record at the gate too, so that no sampler can forget it."""

    order = 0

    def admit(self, context: base.Context) -> None:
        """Refuse the whole call without a valid record."""
        require(context.subject, context.folder, context.purpose)
