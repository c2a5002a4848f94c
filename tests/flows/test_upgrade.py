"""Fleets of earlier and later Dreamlines: opened, brought up to date, or told what to do."""

import json

import pytest

from flows import execution, history
from flows.store import staleness
from flows.workspace import SubjectFolder
from tasks.shared import params

from .conftest import PLAN, Command


@pytest.fixture
def done(rex: SubjectFolder) -> SubjectFolder:
    execution.bring_up_to_date(rex)
    return rex


def stale(subject: SubjectFolder) -> dict[str, str]:
    (forecast,) = staleness.forecasts(subject.workspace, [subject.name])
    assert forecast.error is None
    return {verdict.stage.name: verdict.why for verdict in forecast.to_run}


def test_a_stage_added_to_the_template_makes_only_itself_stale(done: SubjectFolder, dreamline: Command):
    """A copy of `report` under another name: what a new last stage looks like."""
    workspace = done.workspace
    template = workspace.root / "flows" / "templates" / "subject.dvc.yaml"
    text = template.read_text()
    start, end = text.index("  report:"), text.index("metrics:")
    added = text[start:end].replace("  report:", "  gallery:").replace("--out report", "--out gallery")
    added = added.replace("    outs:\n      - report", "    outs:\n      - gallery")
    template.write_text(text[:end] + added + text[end:])
    assert stale(done) == {"gallery": "never run"}
    assert all(one.fresh for one in staleness.forecasts(workspace, [done.name])[0].verdicts[: len(PLAN)])


def test_a_changed_stage_of_the_template_makes_itself_and_what_follows_stale(done: SubjectFolder):
    template = done.workspace.root / "flows" / "templates" / "subject.dvc.yaml"
    template.write_text(
        template.read_text().replace("- recipe.evaluate\n", "- recipe.evaluate\n          - recipe.ingest\n")
    )
    assert list(stale(done)) == ["evaluate", "report"]


def test_an_older_subject_gets_the_keys_that_it_lacks_and_stays_up_to_date(done: SubjectFolder):
    """subject.yaml without keys that have a default, and a dvc.yaml of its time."""
    kept = [
        line
        for line in done.subject_file.read_text().splitlines()
        if not line.startswith(("identifier:", "kind:", "consent:", "report:"))
    ]
    done.subject_file.write_text("\n".join(kept) + "\n")
    text = done.dvc_file.read_text()
    done.dvc_file.write_text(text[: text.index("  report:")] + text[text.index("metrics:") :])
    assert stale(done) == {}
    content = params.read_yaml(done.subject_file)
    assert (content["identifier"], content["kind"], content["report"]) == ("sks", "object", {})


def test_an_older_history_can_be_gone_back_to(done: SubjectFolder):
    path = done.folder / history.FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("seconds")
        line.pop("gone")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    history.roll_back(done, 1)
    assert history.current(done) == 1


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("subject.yaml", "unknown key 'portrait'"),
        ("dvc.lock", "made by a later version of DVC"),
    ],
)
def test_what_a_later_version_wrote_is_named_with_what_to_do(
    done: SubjectFolder, dreamline: Command, file: str, words: str
):
    path = done.folder / file
    text = path.read_text()
    later = text.replace("schema: '2.0'", "schema: '9.0'") if file == "dvc.lock" else f"portrait: 1\n{text}"
    assert later != text
    path.write_text(later)
    said = dreamline(done.workspace.root, "run", "rex")
    assert said.code == 2
    assert words in said.err
    assert "update" in said.err.lower()
    assert len(said.err.strip().splitlines()) == 1
