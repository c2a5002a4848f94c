"""Sampling: what stock diffusers draws, in batches whose neighbours do not matter, by way of the gate."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from tasks import sample
from tasks.backbones.base import Backbone, open_base
from tasks.diffusion import samplers
from tasks.methods import dreambooth
from tasks.sample import SEED_OFFSET
from tasks.shared import images, manifest, settings
from tasks.shared.errors import UserError
from tasks.shared.subject import Subject

PROMPTS = ["a {subject} on the beach", "a {subject} in the car", "a red {subject}"]
OPTIONS = {
    "prompts": PROMPTS, "seeds": [3, 4], "num_class_images": 2, "num_inference_steps": 3, "batch_size": 4,
    "guidance_scale": 4.0,
}  # fmt: skip
REX = {"name": "rex", "class": "dog", "class_folder": "dog", "identifier": "sks", "kind": "animal"}


def write_tuning(base: Path, out: Path) -> None:
    """An adapter with random weights in place of a training, saved by the method itself."""
    backbone = open_base(settings.Base(model=str(base), revision="unpinned"), "cpu")
    params = dreambooth.Params()
    method = dreambooth.Method(params)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in method.prepare(backbone):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    out.mkdir(parents=True)
    method.save(backbone, out, {"method": "dreambooth"})
    facts = {
        "method": "dreambooth", "method_params": params.model_dump(mode="json"), "phrase": "sks dog",
        "base": {**backbone.identity, "dtype": "float32"},
    }  # fmt: skip
    manifest.write(out, "fine_tune", 1, **facts)


@pytest.fixture(scope="session")
def tuning(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Callable[[str], Path]
) -> Callable[[str], Path]:
    """`tuning("sd15")` -> a finished fine_tune folder."""
    root = tmp_path_factory.mktemp("tunings")

    def make(kind: str) -> Path:
        if not (root / kind).exists():
            write_tuning(tiny_base(kind), root / kind)
        return root / kind

    return make


class Studio:
    """A subject's folder with a finished fine-tuning."""

    def __init__(self, folder: Path, base: Path, tuning: Path):
        self.folder, self.base, self.out = folder, base, folder / "sample"
        shutil.copytree(tuning, folder / "fine_tune")

    def run(self, subject: dict[str, Any] | None = None, **changes: Any) -> dict[str, bytes]:
        tree = {
            "base": {"model": str(self.base), "revision": "unpinned"},
            "sample": {**OPTIONS, **changes},
            "recipe": {"sample": 1},
        }
        identity = Subject(**{**REX, **(subject or {})})
        sample.run(self.folder / "fine_tune", self.out, settings.Settings(tree, self.folder, identity))
        return self.files()

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.out)): path.read_bytes() for path in sorted(self.out.glob("*/*.png"))
        }

    def entries(self) -> list[dict[str, Any]]:
        return json.loads((self.out / "samples.json").read_text())


@pytest.fixture
def studio(tmp_path: Path, tiny_base, tuning) -> Studio:
    return Studio(tmp_path / "rex", tiny_base("sd15"), tuning("sd15"))


@pytest.mark.parametrize(
    ("kind", "scheduler"), [("sd15", "ddim"), ("sd15", "euler"), ("sd21v", "dpmpp_2m"), ("sdxl", "dpmpp_2m")]
)
def test_draws_what_stock_diffusers_draws(
    tmp_path: Path, tiny_base, tuning, kind: str, scheduler: str
) -> None:
    studio = Studio(tmp_path / "rex", tiny_base(kind), tuning(kind))
    studio.run(scheduler=scheduler, size_px=32)
    for tuned in (False, True):
        plain = {"add_watermarker": False} if kind == "sdxl" else {"safety_checker": None}
        stock = DiffusionPipeline.from_pretrained(tiny_base(kind), **plain)
        stock.set_progress_bar_config(disable=True)
        stock.scheduler = samplers.make(scheduler, stock.scheduler.config)
        if tuned:
            stock.load_lora_weights(
                studio.folder / "fine_tune", weight_name="pytorch_lora_weights.safetensors"
            )
        kinds = ("subject", "class_tuned") if tuned else ("base", "class_base")
        entries = [entry for entry in studio.entries() if entry["kind"] in kinds]
        assert len(entries) == 8
        for entry in entries:
            theirs = stock(
                entry["prompt"], num_inference_steps=3, guidance_scale=4.0, height=32, width=32,
                output_type="np", generator=torch.Generator().manual_seed(entry["seed"]),
            ).images[0]  # fmt: skip
            ours = images.read(studio.out / entry["file"]).astype(float)
            assert np.abs(ours - theirs * 255).max() <= 1.01, entry


def test_layout_and_provenance(studio: Studio) -> None:
    files = studio.run()
    pictures = [f"p{prompt:02d}_s{seed:02d}.png" for prompt in range(3) for seed in range(2)]
    assert list(files) == [
        *(f"base/{name}" for name in pictures),
        *(f"class_base/s{index:02d}.png" for index in range(2)),
        *(f"class_tuned/s{index:02d}.png" for index in range(2)),
        *(f"subject/{name}" for name in pictures),
    ]
    content = manifest.verify(studio.out, "sample")
    assert content["verdicts"] == {"released": 16, "flagged": 0, "refused": 0}
    entries = {entry["file"]: entry for entry in studio.entries()}
    assert set(entries) == set(files)
    entry = entries["subject/p01_s01.png"]
    assert (entry["prompt"], entry["scene"]) == ("a sks dog in the car", "a dog in the car")
    assert entry["seed"] == SEED_OFFSET + 4
    record = images.provenance(studio.out / "subject/p01_s01.png")
    tuned = manifest.read(studio.folder / "fine_tune", "fine_tune")
    assert (record["prompt"], record["seed"], record["method"]) == (
        entry["prompt"],
        entry["seed"],
        "dreambooth",
    )
    name = "pytorch_lora_weights.safetensors"
    assert record["adapter"][name] == manifest.digest(studio.folder / "fine_tune" / name)
    assert record["base"] == {key: tuned["base"][key] for key in ("model", "revision")}
    assert record["sampler"]["scheduler"] == "dpmpp_2m"
    assert images.provenance(studio.out / "base/p01_s01.png")["adapter"] is None
    assert "rex" not in json.dumps(record)
    for text in ("samples.json", "manifest.json"):
        assert str(studio.folder) not in (studio.out / text).read_text()
    grid = images.read(studio.out / "grid.png")
    assert images.provenance(studio.out / "grid.png")["method"] == "dreambooth"
    assert grid.shape == (3 * 32 + 2 * 2, 4 * 32 + 3 * 2, 3)
    assert np.array_equal(grid[34:66, 34:66], images.read(studio.out / "subject/p01_s01.png"))
    assert np.array_equal(grid[34:66, 102:134], images.read(studio.out / "base/p01_s01.png"))


def test_tuned_and_base_differ_and_the_base_is_untouched(studio: Studio, tiny_base) -> None:
    files = studio.run()
    assert files["subject/p00_s00.png"] != files["base/p00_s00.png"]
    tuned, base = (images.read(studio.out / kind / "p00_s00.png") for kind in ("subject", "base"))
    assert np.abs(tuned.astype(int) - base).mean() > 1


def test_same_inputs_give_the_same_bytes(studio: Studio) -> None:
    first = studio.run()
    everything = {path.name: path.read_bytes() for path in studio.out.glob("*.*")}
    torch.rand(7)
    assert studio.run() == first
    assert {path.name: path.read_bytes() for path in studio.out.glob("*.*")} == everything


@pytest.mark.parametrize("kind", ["sd15", "sd21v", "sdxl"])
def test_a_changed_prompt_changes_its_own_pictures_only(tmp_path: Path, tiny_base, tuning, kind: str) -> None:
    studio = Studio(tmp_path / "rex", tiny_base(kind), tuning(kind))
    before = studio.run()
    after = studio.run(prompts=[PROMPTS[0], "a {subject} on the red vase", PROMPTS[2]])
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"{who}/p01_s{seed:02d}.png" for who in ("subject", "base") for seed in range(2)}


@pytest.mark.parametrize("kind", ["sd15", "sd21v", "sdxl"])
def test_a_further_prompt_changes_no_picture(tmp_path: Path, tiny_base, tuning, kind: str) -> None:
    studio = Studio(tmp_path / "rex", tiny_base(kind), tuning(kind))
    before = studio.run()
    after = studio.run(prompts=[*PROMPTS, "a {class}"])
    assert len(after) == len(before) + 4
    assert {name: after[name] for name in before} == before


def test_every_batch_has_the_same_size(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    drawn = Backbone._draw

    def counted(self, conditioning, unconditional, seeds, options):
        sizes.append(len(seeds))
        return drawn(self, conditioning, unconditional, seeds, options)

    monkeypatch.setattr(Backbone, "_draw", counted)
    studio.run(batch_size=3)
    assert sizes == [3, 3, 3] * 2


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prompts": ["a {subjct} here"]}, r"'a \{subjct\} here': unknown placeholder \{subjct\}"),
        ({"prompts": ["a {subject"]}, r"'a \{subject'"),
        ({"prompts": ["a {subject!r}"]}, r"'a \{subject!r\}'"),
        ({"prompts": ["  "]}, "empty"),
        ({"prompts": []}, "prompts"),
        ({"prompts": ["a {class}", "a dog"]}, "become the same"),
        ({"prompts": ["a {class}", "a {class}"]}, "twice"),
        ({"seeds": [1, 1]}, "twice"),
        ({"seeds": [-1]}, "seeds"),
        ({"size_px": 33}, "multiple of 2"),
        ({"class_prompt": "a {subject}"}, r"class_prompt.*\{subject\}"),
        ({"promts": ["a {class}"]}, "did you mean 'prompts'"),
    ],
)
def test_wrong_params_name_key_and_prompt(studio: Studio, changes: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        studio.run(**changes)
    assert "\n" not in str(caught.value)
    assert not studio.out.exists()


def test_words_that_the_text_encoder_cannot_see_are_named(studio: Studio, caplog) -> None:
    studio.run(prompts=["a {subject} in the red car on the beach in the red car on vase dog", PROMPTS[0]])
    [warning] = manifest.read(studio.out, "sample")["warnings"]
    assert "'on vase dog'" in warning
    assert warning in caplog.text


PERSON = {"name": "ada", "kind": "person", "consent": "consent.yaml"}
RECORD = "given_by: Ada\ndate: 2020-01-01\npurposes: [ingest, train, sample]\nexpires: 2999-01-01\n"


def test_a_refused_picture_is_not_written_but_its_reason_is(studio: Studio) -> None:
    (studio.folder / "consent.yaml").write_text(RECORD)
    files = studio.run(PERSON, prompts=[PROMPTS[0], "a naked {subject}"])
    assert not [name for name in files if "p01" in name]
    assert len([name for name in files if "p00" in name]) == 4
    refused = [entry for entry in studio.entries() if entry["verdict"] == "refused"]
    assert [entry["file"] for entry in refused] == [
        f"{who}/p01_s0{s}.png" for who in ("subject", "base") for s in (0, 1)
    ]
    assert all("naked" in entry["reasons"][0] for entry in refused)
    assert manifest.verify(studio.out, "sample")["verdicts"]["refused"] == 4
    assert (images.read(studio.out / "grid.png")[34:66, :32] == 127).all()


@pytest.mark.parametrize("record", [None, RECORD.replace("2999", "2021"), RECORD.replace(", sample", "")])
def test_a_person_without_valid_consent_is_not_drawn(studio: Studio, record: str | None, monkeypatch) -> None:
    if record:
        (studio.folder / "consent.yaml").write_text(record)
    monkeypatch.setattr(
        sample.warm, "take", lambda base: pytest.fail("opened the base before asking for consent")
    )
    with pytest.raises(UserError, match="consent"):
        studio.run(PERSON)
    assert not studio.out.exists()


def test_a_black_picture_is_written_and_flagged(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Backbone._draw

    def spoiled(self, conditioning, unconditional, seeds, options):
        pixels = drawn(self, conditioning, unconditional, seeds, options)
        pixels[[index for index, seed in enumerate(seeds) if seed == SEED_OFFSET + 4]] = 0
        return pixels

    monkeypatch.setattr(Backbone, "_draw", spoiled)
    files = studio.run()
    flagged = [entry["file"] for entry in studio.entries() if entry["verdict"] == "flagged"]
    assert flagged == [f"{who}/p{prompt:02d}_s01.png" for who in ("subject", "base") for prompt in range(3)]
    assert set(flagged) < set(files)


def test_another_base_or_phrase_or_damage_is_refused(studio: Studio, tiny_base) -> None:
    with pytest.raises(UserError, match=r"tuned as 'sks dog'.*'xyz dog'"):
        studio.run({"identifier": "xyz"})
    studio.base = tiny_base("sd21v")
    with pytest.raises(UserError, match=r"tuned on sd15.*sd21v"):
        studio.run()
    studio.base = tiny_base("sd15")
    weights = studio.folder / "fine_tune" / "pytorch_lora_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged"):
        studio.run()
    (studio.folder / "fine_tune" / "manifest.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        studio.run()
