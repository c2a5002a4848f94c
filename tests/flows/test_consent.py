"""A person whose consent does not hold is not run, by no command, and removal is asked for."""

import datetime

import pytest

from flows import consents, execution
from flows.store import staleness
from flows.workspace import SubjectFolder, Workspace, write_subject
from tasks.shared.errors import UserError

from .conftest import Command, new_subject

RECORD = "given_by: Ada  # herself\ndate: 2020-01-01\npurposes: [ingest, train, sample]\nexpires: {expires}\n"


@pytest.fixture
def ada(workspace: Workspace) -> SubjectFolder:
    """A person who has agreed, with a dog beside her."""
    new_subject(workspace, "rex")
    person = new_subject(workspace, "ada", "woman")
    write_subject(person.subject_file, {"kind": "person", "consent": "consent.yaml"})
    (person.folder / "consent.yaml").write_text(RECORD.format(expires="2999-01-01"))
    return workspace.subject("ada")


def test_a_revoked_consent_stops_every_command_and_names_the_removal(ada: SubjectFolder, dreamline: Command):
    root = ada.workspace.root
    execution.bring_up_to_date(ada)
    assert "2999-01-01" in dreamline(root, "consent", "show").out
    said = dreamline(root, "consent", "revoke", "ada")
    assert said.code == 0, said.err
    record = (ada.folder / "consent.yaml").read_text()
    assert f"revoked: {datetime.date.today()}" in record
    assert "# herself" in record
    for command in ("status", "plan", "run"):
        told = dreamline(root, command, "ada")
        assert "consentwasrevokedon" in "".join((told.out + told.err).split()), command
        assert "dreamlineremoveada--everywhere" in "".join((told.out + told.err).split()), command
    with pytest.raises(UserError, match="revoked"):
        execution.bring_up_to_date(ada)
    assert "revoked" in dreamline(root, "consent", "show").out
    assert (ada.folder / ".work" / "calls.log").read_text().count("sample") == 1


def test_an_expired_consent_stops_a_subject_that_nothing_has_touched(ada: SubjectFolder, monkeypatch):
    from flows.store.untouched import Untouched

    workspace = ada.workspace
    for name in ("ada", "rex"):
        execution.bring_up_to_date(workspace.subject(name))
    fresh = staleness.forecasts(workspace, ["ada", "rex"], Untouched(workspace))
    assert [one.fresh for one in fresh] == [True, True]

    class Later(datetime.date):
        @classmethod
        def today(cls) -> "Later":
            return cls(3000, 1, 1)

    monkeypatch.setattr("tasks.guards.consent.datetime.date", Later)
    person, dog = staleness.forecasts(workspace, ["ada", "rex"], Untouched(workspace))
    assert person.stopped
    assert "expired on 2999-01-01" in (person.error or "")
    assert dog.fresh


def test_consent_that_ends_later_holds_until_then(ada: SubjectFolder):
    consents.revoke(ada, datetime.date(2998, 1, 1))
    assert consents.refusal(ada) is None


@pytest.mark.parametrize(
    ("name", "day", "words"), [("rex", [], "only persons"), ("ada", ["--from", "soon"], "--from")]
)
def test_what_cannot_be_revoked_is_a_mistake_in_one_line(
    ada: SubjectFolder, dreamline: Command, name: str, day: list[str], words: str
):
    said = dreamline(ada.workspace.root, "consent", "revoke", name, *day)
    assert said.code == 2
    assert words in said.err
