"""Who was up to date and has not been touched is not asked about; whoever was touched is, whatever it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows import execution
from flows.store import staleness
from flows.store.untouched import Untouched
from flows.workspace import SubjectFolder

from .conftest import new_subject


@pytest.fixture
def known(rex: SubjectFolder) -> SubjectFolder:
    """A subject that DVC has just called up to date."""
    execution.bring_up_to_date(rex)
    assert look(rex)
    return rex


def look(subject: SubjectFolder) -> staleness.Forecast:
    (forecast,) = staleness.forecasts(subject.workspace, [subject.name], Untouched(subject.workspace))
    return forecast


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.chmod(0o644)
    path.write_text(change(path.read_text()))


def object_of(subject: SubjectFolder) -> Path:
    """A file of the cache that a lock file names only through a folder."""
    cache = subject.workspace.root / ".dvc" / "cache" / "files" / "md5"
    return next(path for path in sorted(cache.rglob("*")) if path.is_file() and path.suffix != ".dir")


def test_who_was_up_to_date_is_not_asked_about(known: SubjectFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(staleness, "look", lambda *_: pytest.fail("DVC was asked"))
    assert look(known).fresh


@pytest.mark.parametrize(
    "touch",
    [
        lambda s: rewrite(s.workspace.params_file, lambda t: t.replace("seed: 5", "seed: 55")),
        lambda s: rewrite(s.subject_file, lambda t: t.replace("sks", "zwx")),
        lambda s: rewrite(s.folder / "sample" / "result.json", lambda t: t + " "),
        lambda s: (s.folder / "photos" / "new.png").write_bytes(b"x"),
        lambda s: rewrite(s.folder / "dvc.lock", lambda t: t.replace("seed: 5", "seed: 4")),
        lambda s: (s.prior / "images" / "result.json").unlink(),
        lambda s: object_of(s).unlink(),
        lambda s: rewrite(
            s.workspace.root / "flows" / "templates" / "subject.dvc.yaml",
            lambda t: t.replace("- recipe.report\n", "- recipe.report\n          - recipe.ingest\n"),
        ),
    ],
    ids=["params", "subject", "output", "photos", "lock", "prior", "cache", "template"],
)
def test_whatever_is_touched_is_asked_about(known: SubjectFolder, touch: Callable[[SubjectFolder], object]):
    touch(known)
    assert not look(known).fresh


def test_a_change_while_dvc_is_asked_shows_the_next_time(
    known: SubjectFolder, monkeypatch: pytest.MonkeyPatch
):
    ask = staleness.look
    rewrite(known.folder / "sample" / "result.json", lambda text: text)  # touched: to be asked about

    def slow(subject, priors):
        found = ask(subject, priors)
        rewrite(known.folder / "sample" / "result.json", lambda text: text + " ")
        return found

    monkeypatch.setattr(staleness, "look", slow)
    assert look(known).fresh  # so it was when it was asked
    monkeypatch.setattr(staleness, "look", ask)
    assert not look(known).fresh


def test_a_damaged_memory_costs_a_status(known: SubjectFolder):
    path = known.workspace.state / "fresh.json"
    path.write_text("[")
    assert look(known).fresh
    assert path.read_text().startswith("{")


def test_removed_subjects_are_forgotten(known: SubjectFolder):
    import shutil

    workspace = known.workspace
    shutil.rmtree(known.folder)
    staleness.forecasts(workspace, [new_subject(workspace, "bob").name], Untouched(workspace))
    assert "rex" not in (workspace.state / "fresh.json").read_text()
