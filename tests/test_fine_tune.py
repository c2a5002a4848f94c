"""The stage fine_tune as a whole: what it writes, what it refuses, and that killing it changes nothing."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks import fine_tune
from tasks.metrics._judges import ImageJudge
from tasks.shared import images, manifest, settings, tensors
from tasks.shared.errors import UserError

REPO = Path(__file__).resolve().parent.parent
ARTIFACT = "pytorch_lora_weights.safetensors"


def tuned(subject: Path, name: str = "fine_tune") -> Path:
    """Run the stage on the temporary project's subject."""
    project = subject.parents[2]
    out = subject / name
    told = settings.load(project / "params.yaml", subject / "subject.yaml")
    fine_tune.run(subject / "segment", project / "data/class_prior/dog/images", out, told)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_artifact_curve_pictures_card_and_manifest(subject, set_params):
    set_params({"fine_tune": {"max_train_steps": 3, "validation_steps": 2, "validation_inference_steps": 2}})
    out = tuned(subject)
    facts = manifest.verify(out, "fine_tune")
    assert {"validation/step_0002.png", "validation/step_0003.png", ARTIFACT, "kohya.safetensors"} <= set(
        facts["files"]
    )
    assert facts["method"] == "dreambooth" and facts["phrase"] == "sks dog" and facts["class"] == "dog"
    assert facts["base"]["model"] == "base" and len(facts["base"]["revision"]) == 32
    curve = json.loads((out / "curve.json").read_text())
    assert [row["step"] for row in curve] == [1, 2, 3]
    assert all(abs(row["loss"] - row["instance"] - row["prior"]) < 2e-6 for row in curve)
    assert "held_instance" in curve[1] and "held_prior" in curve[2]
    assert "sks dog" in (out / "README.md").read_text()
    assert not (subject / ".work" / "fine_tune").exists()
    assert images.read(out / "validation/step_0003.png").shape == (32, 66, 3)


def test_a_judge_says_on_the_way_how_like_the_photos_the_subject_is(subject, set_params, tiny_judges):
    shutil.copytree(tiny_judges, subject.parents[1] / "judges")
    looked = {"max_train_steps": 2, "validation_steps": 1, "validation_inference_steps": 2}
    judging = {"validation_judge": "data/judges/identity", "validation_judge_revision": "main"}
    set_params({"fine_tune": {**looked, **judging}})
    out = tuned(subject)
    curve = json.loads((out / "curve.json").read_text())
    judge = ImageJudge("identity", project=tiny_judges)
    photos = judge.embed(images.read_folder(subject / "segment" / "images"))
    for row in curve:
        drawn = images.read(out / "validation" / f"step_{row['step']:04d}.png")[:, :32]
        assert row["dino"] == pytest.approx(float((judge.embed([drawn]) @ photos.T).mean()), abs=1e-4)


def test_outputs_name_no_path_no_person_and_no_subject_folder(subject):
    out = tuned(subject)
    told = json.loads(tensors.metadata(out / ARTIFACT)["dreamline"])
    assert set(told) == {"method", "base", "phrase", "class", "params_digest"}
    for name, content in files(out).items():
        assert str(subject.parents[2]).encode() not in content, name
        assert b"rex" not in content or name.endswith(".png"), name


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(subject, set_params):
    first = files(tuned(subject))
    torch.rand(7), np.random.rand(7)  # noqa: NPY002 - burn global random numbers
    assert files(tuned(subject, "again")) == first
    set_params({"fine_tune": {"seed": 1}})
    assert files(tuned(subject, "other"))[ARTIFACT] != first[ARTIFACT]


FOUR_LOSSES = {  # what the shipped defaults may change is said here, so that the golden values are the code's alone
    "fine_tune": {
        "max_train_steps": 4, "learning_rate": 0.01, "lr_scheduler": "constant", "snr_gamma": 5.0, "masked_loss": True,
    },
    "methods": {"dreambooth": {"tuner": {"name": "lora", "rank": 8, "convolutions": True}}},
}  # fmt: skip


def test_four_losses_of_a_seeded_run_stay_what_they_were(subject, set_params):
    """Self-made golden: catches an accidental change of loop, draws, order of pictures or objective."""
    set_params(FOUR_LOSSES)
    curve = json.loads((tuned(subject) / "curve.json").read_text())
    assert [row["loss"] for row in curve] == pytest.approx(GOLDEN, abs=2e-5)


GOLDEN = [1.840744, 2.158831, 1.246996, 1.677391]


SLOW = """
import sys, time
from tasks.methods import dreambooth
from tasks.training import engine
plain = dreambooth.Method.after_step
def after_step(self, step):
    plain(self, step)
    print(step, flush=True)
    time.sleep(0.2)
dreambooth.Method.after_step = after_step
from tasks import fine_tune
from tasks.shared import cli
cli.main(fine_tune.run)
"""


def started(subject: Path) -> subprocess.Popen:
    project = subject.parents[2]
    paths = {
        "segment": subject / "segment",
        "prior": project / "data/class_prior/dog/images",
        "out": subject / "fine_tune",
    }
    flags = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    flags += ["--params", str(project / "params.yaml"), "--subject", str(subject / "subject.yaml")]
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", SLOW, *flags], env=env, stdout=subprocess.PIPE, text=True)


MANY_STATES = {
    "max_train_steps": 9, "validation_steps": 3, "validation_inference_steps": 2,
    "ema_decay": 0.9, "lr_scheduler": "cosine", "lr_warmup_steps": 2, "random_flip": True, "snr_gamma": 5.0,
}  # fmt: skip


def test_killed_and_resumed_gives_the_bytes_of_the_uninterrupted_run(subject, set_params, caplog):
    set_params(
        {
            "fine_tune": MANY_STATES,
            "machine": {"checkpoint_steps": 2},
            "methods": {"dreambooth": {"tuner": {"name": "lora", "dropout": 0.1}}},
        }
    )
    whole = files(tuned(subject, "whole"))
    process = started(subject)
    for line in process.stdout:
        if line.strip() == "5":
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not (subject / "fine_tune").exists()
    work = subject / ".work" / "fine_tune"
    assert len(list(work.rglob("step_*.pt"))) == 2
    with caplog.at_level(logging.INFO):
        resumed = files(tuned(subject))
    assert "going on at step 4 of 9" in caplog.text
    assert resumed == whole
    assert not work.exists()


def interrupted(subject: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> Path:
    """Checkpoints of a run that broke off after `step`."""
    from tasks.methods import dreambooth

    def stop(self, done):
        if done == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dreambooth.Method, "after_step", stop)
        tuned(subject)
    return subject / ".work" / "fine_tune"


def test_a_damaged_checkpoint_is_passed_over(subject, set_params, monkeypatch, caplog):
    set_params({"fine_tune": {"max_train_steps": 6}, "machine": {"checkpoint_steps": 1}})
    whole = files(tuned(subject, "whole"))
    work = interrupted(subject, monkeypatch, 4)
    newest = max(work.rglob("step_*.pt"))
    newest.write_bytes(newest.read_bytes()[:-100])
    with caplog.at_level(logging.INFO):
        assert files(tuned(subject)) == whole
    assert "damaged" in caplog.text and "going on at step 2 of 6" in caplog.text


def test_a_checkpoint_of_other_params_is_not_used(subject, set_params, monkeypatch, caplog):
    set_params({"fine_tune": {"max_train_steps": 4}, "machine": {"checkpoint_steps": 1}})
    interrupted(subject, monkeypatch, 3)
    set_params({"fine_tune": {"learning_rate": 0.002}})
    with caplog.at_level(logging.INFO):
        tuned(subject)
    assert "going on" not in caplog.text and "other params" in caplog.text


def test_a_loss_that_is_no_number_says_what_to_try(subject, set_params):
    set_params({"fine_tune": {"max_train_steps": 20, "learning_rate": 10.0, "max_grad_norm": 0.0}})
    from tasks.diffusion import objective

    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="half the learning_rate"):
        patch.setattr(objective, "masked_mean", lambda error, masks: error.mean(dim=(1, 2, 3)) * float("nan"))
        tuned(subject)
    assert not (subject / "fine_tune").exists()


IDENTITY = "name: rex\nclass: dog\nclass_folder: dog\n"


def rewritten(lines: str):
    return lambda subject: (subject / "subject.yaml").write_text(lines)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda s: (s / "segment" / "manifest.json").unlink(), "not finished"),
        (lambda s: (s / "segment" / "images" / "00.png").write_bytes(b"no"), "missing or damaged"),
        (rewritten(IDENTITY.replace("class: dog", "class: cat")), "class 'dog'"),
        (rewritten(IDENTITY + "method: dreambot\n"), "did you mean 'dreambooth'"),
        (rewritten(IDENTITY + "kind: person\n"), "consent"),
        (rewritten(IDENTITY + "fine_tune: {lerning_rate: 1}\n"), "did you mean 'learning_rate'"),
        (
            rewritten(IDENTITY + "methods: {dreambooth: {tuner: {name: lora, rnk: 4}}}\n"),
            "did you mean 'rank'",
        ),
        (rewritten(IDENTITY + 'fine_tune: {validation_prompts: ["a {sbject}"]}\n'), "unknown placeholder"),
    ],
    ids=[
        "no manifest",
        "damaged crop",
        "class",
        "method",
        "consent",
        "param",
        "tuner's param",
        "placeholder",
    ],
)
def test_what_is_wrong_is_said_in_one_line(subject, break_it, message):
    break_it(subject)
    with pytest.raises(UserError, match=message) as caught:
        tuned(subject)
    assert "\n" not in str(caught.value) and not (subject / "fine_tune").exists()


def test_without_prior_weight_no_class_pictures_are_needed(subject, set_params):
    import shutil

    shutil.rmtree(subject.parents[2] / "data/class_prior/dog")
    set_params({"methods": {"dreambooth": {"prior_loss_weight": 0.0}}})
    curve = json.loads((tuned(subject) / "curve.json").read_text())
    assert "prior" not in curve[0] and curve[0]["loss"] == curve[0]["instance"]
