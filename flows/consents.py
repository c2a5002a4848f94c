"""Consent of persons, before anything starts: whose no longer holds is not run, and is to be removed."""

from __future__ import annotations

import datetime

from ruamel.yaml import YAML

from flows.workspace import SubjectFolder
from tasks.guards import consent
from tasks.shared.errors import UserError
from tasks.shared.folders import staged_file


def refusal(subject: SubjectFolder) -> str | None:
    """Why nothing may be made of a person today; None where it may, and for whoever is no person.

    Raises:
        UserError: subject.yaml is wrong.
    """
    if "person" not in subject.subject_file.read_text(encoding="utf-8"):
        return None  # spares a fleet of dogs the reading of YAML
    identity = subject.identity
    try:
        consent.standing(identity, subject.folder)
    except UserError as error:
        return str(error)
    return None


def revoke(subject: SubjectFolder, day: datetime.date) -> None:
    """Write into the record that consent no longer holds from `day` on.

    Raises:
        UserError: the subject is no person, or has no record.
    """
    if subject.identity.kind != "person":
        raise UserError(f"{subject.subject_file}: kind is {subject.identity.kind!r}; only persons consent")
    path = consent.record_of(subject.identity, subject.folder)
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    content = yaml.load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise UserError(f"{path}: no consent record; write given_by, date, purposes and expires into it")
    content["revoked"] = day
    with staged_file(path) as fresh, open(fresh, "w", encoding="utf-8") as file:
        yaml.dump(content, file)
