"""The output gate: verdicts, what is written and what is not, and that a new guard changes no other file."""

import datetime
from pathlib import Path

import numpy as np
import pytest

from tasks.guards import base, consent, output, pictures, prompts
from tasks.shared import images, plugins
from tasks.shared.errors import UserError
from tasks.shared.subject import Subject


def person(**more) -> Subject:
    return Subject(**{"name": "ada", "class": "woman", "class_folder": "woman", "kind": "person", **more})


def toy() -> Subject:
    return Subject(**{"name": "rex", "class": "dog", "class_folder": "dog", "kind": "animal"})


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)


def picture(
    path: Path, pixels: np.ndarray | None = None, prompt: str = "a sks dog", seed: int = 7
) -> base.Picture:
    return base.Picture(noise() if pixels is None else pixels, prompt, seed, path)


@pytest.fixture
def consenting(tmp_path: Path) -> base.Context:
    (tmp_path / "consent.yaml").write_text(
        "given_by: Ada\ndate: 2020-01-01\npurposes: [ingest, train, sample]\nexpires: 2999-01-01\n"
    )
    return base.Context(subject=person(consent="consent.yaml"), folder=tmp_path)


def test_every_file_of_the_folder_is_asked() -> None:
    asked = {type(guard).__module__ for guard in output.guards()}
    assert asked == {f"tasks.guards.{name}" for name in plugins.names("guards")} - {"tasks.guards.output"}
    assert len(asked) >= 4


def test_releases_with_provenance(tmp_path: Path) -> None:
    facts = {"base": {"model": "m", "revision": "r"}, "method": "dreambooth", "adapter": "abc"}
    [verdict] = output.release([picture(tmp_path / "a.png")], base.Context(toy(), tmp_path, facts=facts))
    assert (verdict.word, verdict.reasons) == ("released", [])
    record = images.provenance(tmp_path / "a.png")
    assert record == {
        **facts,
        "software": "dreamline",
        "digital_source_type": "trainedAlgorithmicMedia",
        "subject_kind": "animal",
        "prompt": "a sks dog",
        "seed": 7,
    }
    assert np.array_equal(images.read(tmp_path / "a.png"), noise())


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (np.zeros((8, 8, 3), np.uint8), "flagged"),
        (np.full((8, 8, 3), 3, np.uint8), "flagged"),
        (np.full((8, 8, 3), 200, np.uint8), "flagged"),
        (np.broadcast_to(np.array([250, 0, 90], np.uint8), (8, 8, 3)), "flagged"),
        (np.full((8, 8, 3), np.nan, np.float32), "refused"),
        (np.where(np.arange(192).reshape(8, 8, 3) == 5, np.inf, 0.5).astype(np.float32), "refused"),
        (np.random.default_rng(0).random((8, 8, 3)).astype(np.float32), "released"),
        (noise(), "released"),
    ],
)
def test_pictures_that_are_none(tmp_path: Path, pixels: np.ndarray, word: str) -> None:
    path = tmp_path / "a.png"
    [verdict] = output.release([picture(path, pixels)], base.Context())
    assert verdict.word == word
    assert path.exists() == (word != "refused")
    assert bool(verdict.reasons) == (word != "released")


@pytest.mark.parametrize(
    "prompt",
    [
        "a nude sks woman",
        "a SEXY sks woman",
        "sks woman, n\u200bsfw",
        "ｎａｋｅｄ sks woman",
        "a passport of sks woman",
        "sks woman pretending to be a nurse",
        "sks woman's drivers license",
        "a deep fake of sks woman",
    ],
)
def test_refuses_by_wording_for_persons_only(tmp_path: Path, consenting: base.Context, prompt: str) -> None:
    [about_person] = output.release([picture(tmp_path / "p.png", prompt=prompt)], consenting)
    assert about_person.word == "refused"
    assert not (tmp_path / "p.png").exists()
    [about_toy] = output.release([picture(tmp_path / "t.png", prompt=prompt)], base.Context(toy()))
    assert about_toy.word == "released"


@pytest.mark.parametrize(
    "prompt",
    [
        "sks woman in Essex",
        "sks woman beside a striped sofa",
        "sks woman as a nurse",
        "sks woman in Middlesex",
    ],
)
def test_words_inside_other_words_are_no_offence(
    prompt: str, consenting: base.Context, tmp_path: Path
) -> None:
    [verdict] = output.release([picture(tmp_path / "p.png", prompt=prompt)], consenting)
    assert verdict.word == "released"


def test_sexual_wording_about_minors_is_refused_for_everything() -> None:
    guard = prompts.Guard()
    asked = picture(Path("x.png"), prompt="a naked child with a sks dog")
    assert [o.refuse for o in guard.review(asked, base.Context(toy()))] == [True]
    assert [o.refuse for o in guard.review(asked, base.Context())] == [True]
    assert not guard.review(picture(Path("x.png"), prompt="a child with a sks dog"), base.Context(toy()))


def test_one_refusal_stops_no_other_picture(tmp_path: Path, consenting: base.Context) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    asked = [
        picture(path, prompt=text)
        for path, text in zip(paths, ["a sks woman", "nude", "a sks woman"], strict=True)
    ]
    assert [verdict.word for verdict in output.release(asked, consenting)] == [
        "released",
        "refused",
        "released",
    ]
    assert [path.exists() for path in paths] == [True, False, True]


def test_review_writes_nothing(tmp_path: Path) -> None:
    assert output.review(picture(tmp_path / "a.png"), base.Context()).word == "released"
    assert not (tmp_path / "a.png").exists()


def test_the_gate_itself_asks_for_consent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="consent"):
        output.release([picture(tmp_path / "a.png")], base.Context(person(), tmp_path))
    assert not (tmp_path / "a.png").exists()


class Watermark(base.Guard):
    """What a later watermark.py would look like."""

    order = 70

    def mark(self, pixels, picture, context):
        return pixels ^ 1

    def record(self, picture, context):
        return {"watermark": "low bit"}


class Sidecar(base.Guard):
    """What a later c2pa.py would look like."""

    order = 90

    def seal(self, path, picture, context):
        path.with_suffix(".c2pa").write_bytes(path.read_bytes()[:4])


def test_a_mark_and_a_seal_fit_in(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    [verdict] = output.release([picture(path)], base.Context(), [*output.guards(), Watermark(), Sidecar()])
    assert verdict.word == "released"
    assert np.array_equal(images.read(path), noise() ^ 1)
    assert images.provenance(path)["watermark"] == "low bit"
    assert path.with_suffix(".c2pa").read_bytes() == b"\x89PNG"


def test_defects_of_a_caller_are_no_verdicts() -> None:
    with pytest.raises(ValueError, match="h w 3"):
        pictures.Guard().review(picture(Path("x.png"), np.zeros((8, 8), np.uint8)), base.Context())


RECORD = "given_by: Ada\ndate: 2026-03-01\npurposes: [ingest, sample]\nexpires: 2027-03-01\n"
DAY = datetime.date(2026, 6, 1)


def test_consent_holds_until_its_last_day(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(RECORD)
    subject = person(consent="c.yaml")
    for today in (datetime.date(2026, 3, 1), DAY, datetime.date(2027, 3, 1)):
        consent.require(subject, tmp_path, "sample", today)


@pytest.mark.parametrize(
    ("record", "purpose", "today", "complaint"),
    [
        (None, "sample", DAY, "no such consent record"),
        (RECORD, "train", DAY, "not for 'train'"),
        (RECORD, "sample", datetime.date(2027, 3, 2), "expired on 2027-03-01"),
        (RECORD, "sample", datetime.date(2026, 2, 28), "begins on 2026-03-01"),
        ("given_by: Ada\n", "sample", DAY, "expires"),
        (RECORD.replace("2027-03-01", "soon"), "sample", DAY, "expires"),
        (RECORD.replace("sample", "smaple"), "sample", DAY, "purposes"),
        (RECORD.replace("given_by: Ada", "given_by: ''"), "sample", DAY, "given_by"),
    ],
)
def test_consent_that_does_not_hold(
    tmp_path: Path, record: str | None, purpose: str, today, complaint: str
) -> None:
    if record is not None:
        (tmp_path / "c.yaml").write_text(record)
    with pytest.raises(UserError, match=complaint) as caught:
        consent.require(person(consent="c.yaml"), tmp_path, purpose, today)
    assert "\n" not in str(caught.value)


def test_consent_must_lie_with_the_subject(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(RECORD)
    (tmp_path / "ada").mkdir()
    with pytest.raises(UserError, match="outside"):
        consent.require(person(consent="../c.yaml"), tmp_path / "ada", "sample", DAY)


def test_a_toy_needs_no_consent(tmp_path: Path) -> None:
    consent.require(toy(), tmp_path, "train")
    consent.require(None, None, "train")
