"""The command line: what it prints, what it returns, and that no mistake ends in a traceback."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows import execution
from flows.workspace import SubjectFolder, Workspace
from tasks.shared import subject

from .conftest import PLAN, Command, new_subject, write_photo

HEAVY = ("torch", "prefect", "dvc", "diffusers", "transformers", "numpy")


def test_help_imports_nothing_heavy():
    code = (
        f"import sys, flows.cli.entry as e\ntry: e.main(['--help'])\nexcept SystemExit: pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]"), done.stdout[-200:]
    for command in (
        "add",
        "run",
        "status",
        "plan",
        "verify",
        "history",
        "rollback",
        "report",
        "push",
        "pull",
        "remove",
        "ui",
        "serve",
        "doctor",
        "nightly",
        "prune",
        "consent",
    ):
        assert f" {command} " in done.stdout


@pytest.mark.parametrize(
    ("given", "turns"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
    ids=["ours", "a count of the user's", "a policy of the user's"],
)
def test_how_long_threads_wait_is_said_before_pytorch_is_there(given: dict[str, str], turns: str):
    unsaid = {
        key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    code = (
        "import os, sys, flows.cli.running; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=unsaid | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [turns, "False"]


def test_help_is_immediate():
    def cpu_s() -> float:
        before = os.times()
        subprocess.run(
            [sys.executable, "-c", "from flows.cli import main; main(['--help'])"], capture_output=True
        )
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(cpu_s() for _ in range(3)) < 0.5


def test_a_first_run_a_second_run_and_what_status_says(rex: SubjectFolder, dreamline: Command, api: str):
    root = rex.workspace.root
    assert "never run" in dreamline(root, "status").out
    first = dreamline(root, "run", "rex")
    assert first.code == 0, first.err
    assert first.out.strip() == str(rex.report)
    assert [stage for stage in PLAN if f"{stage:<12}done" in first.err] == PLAN
    assert "up to date" in dreamline(root, "status").out
    second = dreamline(root, "run", "rex")
    assert "nothing to run" in second.err
    assert second.out == first.out
    (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("seed: 5", "seed: 55"))
    shown = dreamline(root, "status", "rex").out
    assert "params.yaml: sample.seed 5 -> 55" in shown
    assert "after sample" in shown
    assert "3 stages to run, about" in shown
    assert dreamline(root, "report", "rex").out.strip() == str(rex.report)
    execution.bring_up_to_date(rex)
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("seed: 55", "seed: 5").replace("seed: 6", "seed: 66"))
    third = dreamline(root, "run", "rex")
    assert re.search(r"^rex: evaluate, report \(about .+\), 1 comes back from the cache$", third.err, re.M)
    assert f"{'sample':<12}restored" in third.err
    shutil.rmtree(rex.folder / "report")
    assert "rex: restore from the cache\n" in dreamline(root, "run", "rex").err


MISTAKES = [
    (["run", "rax"], "data/subjects/rax: no such subject (there are: rex)"),
    (["run"], "which subject?"),
    (["report", "rex"], "dreamline run rex"),
    (["add", "nowhere", "--class", "dog"], "nowhere: no such file or folder"),
    (["add", "photos"], "--class: missing"),
    (["add", "photos", "--class", "dog", "--name", "../rex"], "is no slug"),
    (["add", "photos", "--class", "dog", "--name", "-rex"], "is no slug"),
    (["add", "photos", "--class", "do/g"], "do/g"),
    (["add", "photos", "--class", "dog", "--kind", "ghost"], "kind"),
    (["add", "empty", "--class", "dog"], "empty"),
    (["push", "rex", "--remote", "nowhere"], "nowhere"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(
    rex: SubjectFolder, dreamline: Command, arguments: list[str], says: str
):
    root = rex.workspace.root
    (root / "empty").mkdir()
    write_photo(root / "photos" / "a.png", 1)
    execution.versions.add_photos(rex)
    done = dreamline(root, *arguments)
    assert done.code == 2, done.out + done.err
    assert says in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "Traceback" not in done.err
    assert rex.workspace.subjects() == ["rex"]
    assert not list(rex.workspace.subjects_folder.glob(".*"))


WRONG = [
    ("params.yaml", "seed: 5", "sead: 5", "did you mean 'seed'"),
    ("params.yaml", "seed: 5", "seed: many", "sample: seed"),
    ("params.yaml", "seed: 5", "seed: .nan", "sample: seed"),
    ("params.yaml", "strength: 5.5", "strength: .nan", "sample: strength"),
    ("params.yaml", "sample: {", "sampel: {", "sample: missing"),
    ("params.yaml", "segment: {", "segment: [", "not valid YAML"),
    ("params.yaml", "fine_tune: 1", "fine_tune: one", "recipe.fine_tune"),
    ("data/subjects/rex/subject.yaml", "class: dog", "clas: dog", "did you mean 'class'"),
    ("data/subjects/rex/subject.yaml", "class: dog", "class: cat", "class_folder"),
    ("data/subjects/rex/subject.yaml", "name: rex", "name: bob", "name"),
    ("data/subjects/rex/subject.yaml", "method: dreambooth", "method: dreambuth", "dreambuth"),
    ("data/subjects/rex/subject.yaml", "sample: {}", "sample: {sead: 1}", "did you mean 'seed'"),
]


@pytest.mark.parametrize(("file", "old", "new", "says"), WRONG, ids=[f"{row[2]}" for row in WRONG])
def test_a_wrong_setting_costs_no_artifact(rex, dreamline, api, file, old, new, says):
    execution.bring_up_to_date(rex)
    before = {path: path.read_bytes() for path in rex.folder.rglob("*.json")}
    path = rex.workspace.root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    done = dreamline(rex.workspace.root, "run", "rex")
    assert done.code == 2
    error = done.err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert says in error
    assert "Traceback" not in done.err
    assert before == {path: path.read_bytes() for path in rex.folder.rglob("*.json")}


def test_debug_shows_the_traceback(workspace: Workspace, dreamline: Command):
    assert "Traceback" in dreamline(workspace.root, "run", "rex", "--debug").err


def test_outside_of_a_project_is_a_mistake_too(tmp_path: Path, dreamline: Command):
    done = dreamline(tmp_path, "status")
    assert done.code == 2
    assert "not inside a Dreamline project" in done.err


def test_a_second_run_of_a_subject_is_told_to_wait_and_a_killed_one_frees_it(
    rex: SubjectFolder, dreamline: Command
):
    holder = (
        "import sys, time; from pathlib import Path; from flows.lock import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(rex.lock_file)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    done = dreamline(rex.workspace.root, "remove", "rex", "--yes")
    assert done.code == 2
    assert f"a run of this subject is going on (process {process.pid})" in done.err
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert dreamline(rex.workspace.root, "remove", "rex", "--yes").code == 0
    assert rex.workspace.subjects() == []


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, ["bob", "rex"]), ("y", 0, ["bob"])])
def test_remove_asks(
    rex: SubjectFolder, dreamline: Command, monkeypatch, answer: str, code: int, left: list[str]
):
    new_subject(rex.workspace, "bob")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{answer}\n"))
    assert dreamline(rex.workspace.root, "remove", "rex").code == code
    assert rex.workspace.subjects() == left


def test_every_override_block_is_in_a_new_subject(rex: SubjectFolder):
    _, overrides = subject.read(rex.subject_file)
    assert overrides == {block: {} for block in subject.OVERRIDES}
