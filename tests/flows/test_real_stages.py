"""The real stages on a tiny random base: DVC tracks exactly what they read, and both callers give the same bytes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from skimage import data

from flows import adding, execution, stages, verify
from flows.store import staleness, versions
from flows.workspace import SubjectFolder, Workspace, write_subject
from tasks.shared import subject
from tasks.shared.images import read, save
from tasks.shared.manifest import digest

from .conftest import PLAN, REPO, Command, new_workspace

SMALL = {
    "segment": {"segmenter": {"name": "whole_frame"}, "size_px": 32},
    "class_prior": {"num_class_images": 2, "num_inference_steps": 2, "batch_size": 2, "judge": None},
    "fine_tune": {"max_train_steps": 2, "train_batch_size": 2, "validation_steps": 0},
    "machine": {"checkpoint_steps": 0},
    "sample": {"num_inference_steps": 2, "num_class_images": 2},
    "evaluate": {"resamples": 100, "segmenter": None, "dino_revision": "main", "clip_revision": "main"},
}


def small_workspace(root: Path, base: Path, judges: Path) -> Workspace:
    """A project with the repository's own params and stages, on a base that is small."""
    workspace = new_workspace(root, package="tasks")
    shutil.copytree(base, workspace.root / "data" / "base")
    shutil.copytree(judges, workspace.root / "data" / "judges")
    yaml = YAML()
    tree = yaml.load(REPO / "params.yaml")
    tree["base"] = {"model": "data/base", "revision": "unpinned", "dtype": "float32"}
    for section, values in SMALL.items():
        assert set(values) <= set(tree[section]), section
        tree[section].update(values)
    yaml.dump(tree, workspace.params_file)
    return workspace


@pytest.fixture(scope="module")
def rex(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Callable[[str], Path], tiny_judges: Path
) -> SubjectFolder:
    """A subject whose stages are run one by one."""
    folder = tmp_path_factory.mktemp("real")
    workspace = small_workspace(folder / "project", tiny_base("sd15"), tiny_judges)
    for number, picture in enumerate((data.chelsea(), data.coffee(), data.astronaut())):
        Image.fromarray(picture[:256, :256]).save(folder / f"{number}.jpg")
    return adding.add(workspace, sorted(folder.glob("*.jpg")), name="rex", **{"class": "dog"}).subject


def test_dvc_tracks_exactly_the_sections_that_a_stage_reads(rex: SubjectFolder):
    plan = staleness.look(rex)[0]
    assert [stage.name for stage in plan] == PLAN
    stages.check(rex.workspace, plan)
    for stage in plan:
        told = stages._settings(rex.workspace, stage)
        stages._module(stage).run(**stage.paths, settings=told)
        versions.commit(rex.workspace, stage)
        assert set(stage.keys[rex.workspace.params_file]) == told.read, stage.name
        overridable = {dotted.split(".")[0] for dotted in told.read} & set(subject.OVERRIDES)
        if stage.subject_file:
            assert overridable <= set(stage.keys[stage.subject_file]), stage.name
    assert {outcome.action for outcome in execution.bring_up_to_date(rex)} == {"fresh"}


def test_dvc_repro_gives_the_same_bytes_as_the_flow(rex: SubjectFolder):
    drawn = {"fine_tune", "sample"}  # what draws at random, and leans on the machine
    before = contents(rex, drawn)
    targets = [f"{rex.dvc_file}:{stage}" for stage in sorted(drawn)]
    command = [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", *targets]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums depend on how many share them
    done = subprocess.run(
        command, cwd=rex.workspace.root, capture_output=True, text=True, env=os.environ | threads
    )
    assert done.returncode == 0, done.stderr[-2000:]
    after = contents(rex, drawn)
    assert [path for path in after if after[path] != before.get(path)] == []
    assert before.keys() == after.keys()
    assert staleness.forecasts(rex.workspace, ["rex"])[0].fresh


def contents(subject: SubjectFolder, stages: set[str]) -> dict[Path, bytes]:
    """All files of some stages' outputs."""
    paths = [path for stage in stages for path in (subject.folder / stage).rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in paths}


def test_a_changed_prompt_reruns_sample_evaluate_and_report_and_nothing_else(rex: SubjectFolder):
    prompts = ["a {subject} on the beach", "a {subject} in red"]
    write_subject(rex.subject_file, {"sample": {"prompts": prompts}})
    outcomes = execution.bring_up_to_date(rex)
    assert [outcome.stage for outcome in outcomes if outcome.action == "ran"] == [
        "sample",
        "evaluate",
        "report",
    ]
    assert rex.report.exists()


def faults_after(rex: SubjectFolder, tmp_path: Path, change: Callable[[Path], None]) -> dict[str, list[str]]:
    """What `verify` says of a copy of the subject after a change to its folder."""
    root = tmp_path / "copy"
    shutil.copytree(rex.workspace.root, root, symlinks=True)
    copied = Workspace(root).subject("rex")
    change(copied.folder)
    return {link.stage: list(link.faults) for link in verify.chain(copied) if link.faults}


def rewritten(folder: Path) -> None:
    """Other samples with a manifest that knows them: only their own provenance can tell."""
    picture = next((folder / "sample" / "subject").glob("*.png"))
    save(picture, read(picture), {"adapter": {"pytorch_lora_weights.safetensors": "0" * 64}})
    path = folder / "sample" / "manifest.json"
    content = json.loads(path.read_text())
    content["files"][f"subject/{picture.name}"] = digest(picture)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: None, {}),
        (lambda folder: (folder / "sample/grid.png").write_bytes(b"x"), {"sample": ["grid.png: changed since"]}),
        (lambda folder: (folder / "evaluate/scores.json").unlink(), {"evaluate": ["scores.json: missing"]}),
        (lambda folder: (folder / "segment/new.txt").write_text("x"), {"segment": ["new.txt: nobody wrote it"]}),
        (lambda folder: (folder / "report/manifest.json").write_text("{"), {"report": ["no manifest"]}),
        (lambda folder: (folder / "photos/00.png").write_bytes(b"x"), {"ingest": ["00.png: changed since"]}),
        (rewritten, {"sample": ["drawn by other weights"], "evaluate": ["another sample"], "report": ["another sample"]}),
    ],
)  # fmt: skip
def test_verify_names_what_is_not_as_it_was_written(
    rex: SubjectFolder, tmp_path: Path, change: Callable[[Path], None], expected: dict[str, list[str]]
):
    found = faults_after(rex, tmp_path, change)
    assert found.keys() == expected.keys()
    for stage, words in expected.items():
        assert [word in fault for word, fault in zip(words, found[stage], strict=True)] == [True] * len(words)


def test_verify_says_so_on_the_command_line(rex: SubjectFolder, dreamline: Command):
    said = dreamline(rex.workspace.root, "verify", "rex")
    assert said.code == 0
    assert "all as written" in said.out
    assert "ingest, class_prior, segment, fine_tune, sample, evaluate, report" in said.out
