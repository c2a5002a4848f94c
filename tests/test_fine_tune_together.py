"""Several subjects through the stage fine_tune at once: the folders that each would have got alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tasks import fine_tune
from tasks.shared import manifest, settings, tensors
from tasks.shared.errors import UserError

ARTIFACT = "pytorch_lora_weights.safetensors"
SMALL = {"max_train_steps": 3, "learning_rate": 0.01, "validation_steps": 2, "validation_inference_steps": 2}


def second(subject: Path, name: str = "tom", text: str = "") -> Path:
    """Another subject with other photos, word and seed."""
    folder = subject.with_name(name)
    shutil.copytree(subject, folder)
    (folder / "segment" / "images" / "00.png").unlink()
    (folder / "segment" / "masks" / "00.png").unlink()
    manifest.write(folder / "segment", "segment", 1)
    identity = f"name: {name}\nclass: dog\nclass_folder: dog\nidentifier: xyz\n"
    (folder / "subject.yaml").write_text(identity + (text or "fine_tune: {seed: 7}\n"))
    return folder


def job(subject: Path, out: str = "fine_tune") -> fine_tune.Job:
    project = subject.parents[2]
    told = settings.load(project / "params.yaml", subject / "subject.yaml")
    return fine_tune.Job(subject / "segment", project / "data/class_prior/dog/images", subject / out, told)


def alone(subject: Path) -> Path:
    one = job(subject, "alone")
    fine_tune.run(one.segment, one.prior, one.out, one.settings)
    return one.out


def test_each_gets_the_folder_that_it_would_have_got_alone(subject, set_params):
    set_params({"fine_tune": SMALL})
    both = [subject, second(subject)]
    assert fine_tune.run_together([job(one) for one in both]) == {}
    for one in both:
        ours, theirs = one / "fine_tune", alone(one)
        facts, expected = (manifest.verify(folder, "fine_tune") for folder in (ours, theirs))
        assert facts.pop("files").keys() == expected.pop("files").keys()
        assert facts == expected, "params_digest and all other facts"
        assert (ours / "README.md").read_bytes() == (theirs / "README.md").read_bytes()
        assert tensors.metadata(ours / ARTIFACT) == tensors.metadata(theirs / ARTIFACT)
        learnt, known = load_file(ours / ARTIFACT), load_file(theirs / ARTIFACT)
        assert learnt.keys() == known.keys()
        whole, expected_whole = (
            torch.cat([side[name].flatten() for name in known]) for side in (learnt, known)
        )
        assert float((whole - expected_whole).norm() / expected_whole.norm()) < 1e-4
        curves = [json.loads((folder / "curve.json").read_text()) for folder in (ours, theirs)]
        for mine, own in zip(*curves, strict=True):
            assert mine == pytest.approx(own, rel=1e-4, abs=2e-6)
        assert not (one / ".work" / "fine_tune").exists()


def test_one_that_cannot_be_trained_stops_no_other(subject, set_params):
    set_params({"fine_tune": {"max_train_steps": 1}})
    others = [second(subject), second(subject, "bad"), second(subject, "worse", "fine_tune: {sede: 7}\n")]
    (others[1] / "segment" / "images" / "01.png").write_bytes(b"no")
    failures = fine_tune.run_together([job(one) for one in (subject, *others)])
    assert failures.keys() == {2, 3}
    assert "missing or damaged" in str(failures[2]) and "did you mean 'seed'" in str(failures[3])
    finished = [(one / "fine_tune" / "manifest.json").exists() for one in (subject, *others)]
    assert finished == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("fine_tune: {seed: 7, validation_prompts: []}\n", True),
        ('methods: {dreambooth: {instance_prompt: "{subject}", prior_loss_weight: 0.5}}\n', True),
        ("fine_tune: {max_train_steps: 9}\n", False),
        ("fine_tune: {train_batch_size: 1}\n", False),
        ("methods: {dreambooth: {prior_loss_weight: 0.0}}\n", False),
        ("methods: {dreambooth: {tuner: {rank: 3}}}\n", False),
        ("methods: {dreambooth: {tuner: {name: full}}}\n", False),
        ("methods: {dreambooth: {tuner: {dropout: 0.1}}}\n", False),
    ],
)
def test_the_key_says_who_fits_together(text, fits, subject):
    one, other = job(subject), job(second(subject, text=text))
    assert (fine_tune.group_key(one.settings) == fine_tune.group_key(other.settings)) is fits
    if not fits:
        with pytest.raises(UserError, match="same base, method, tuner and options"):
            fine_tune.run_together([one, other])


@pytest.mark.parametrize(
    "change",
    [
        {"fine_tune": {"optimizer": "prodigy"}},
        {"methods": {"dreambooth": {"tuner": {"name": "full"}}}},
        {"methods": {"dreambooth": {"tuner": {"name": "lora", "dropout": 0.1}}}},
    ],
)
def test_what_cannot_be_shared_has_no_key(change, subject, set_params):
    set_params(change)
    assert fine_tune.group_key(job(subject).settings) is None
