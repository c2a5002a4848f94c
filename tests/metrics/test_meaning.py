"""Do the scores mean what they say? On pictures of known likeness, by a judge that sees only mean colours."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tasks.metrics import clip_t, dino, diversity, drift, familiarity, memorisation
from tasks.metrics._judges import Judges
from tasks.metrics.base import Evidence, Picture, Score, among, isolated, pairs

RED, GREEN, BLUE, GREY = (220, 20, 20), (20, 220, 20), (20, 20, 220), (127, 127, 127)
WORDS = {"red": RED, "green": GREEN, "blue": BLUE}


class ColourJudge:
    """Sees the mean colour around mid-grey: the angle between two colours is the truth here."""

    def embed(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        return self._unit([picture.reshape(-1, 3).mean(0) - 127 for picture in pictures])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return self._unit([np.array(WORDS[text.split()[0]]) - 127.0 for text in texts])

    def _unit(self, rows: list[np.ndarray]) -> np.ndarray:
        table = np.array(rows).reshape(-1, 3)
        return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)


def plain(colour, prompt: str = "", seed: int = 0, noise: int = 20) -> Picture:
    random = np.random.default_rng(abs(hash((colour, len(prompt), seed))) % 2**32)
    pixels = np.clip(np.array(colour) + random.integers(-noise, noise + 1, size=(16, 16, 3)), 0, 255)
    return Picture(f"{prompt}{seed}", pixels.astype(np.uint8), prompt, seed)


def drawn(colours: dict[str, tuple], seeds=(0, 1)) -> list[Picture]:
    return [plain(colour, prompt, seed) for prompt, colour in colours.items() for seed in seeds]


PROMPTS = {"green one": GREEN, "blue one": BLUE}


@pytest.fixture
def evidence() -> Evidence:
    """Photos are red; the tuned model draws red for every prompt, the base what the prompt says."""
    return Evidence(
        photos=[plain(RED, seed=seed) for seed in range(3)],
        samples=drawn(dict.fromkeys(PROMPTS, RED)),
        base=drawn(PROMPTS),
        class_tuned=drawn({"red thing": BLUE}, range(4)),
        class_base=drawn({"red thing": BLUE}, range(4)),
        judges=Judges(ColourJudge(), ColourJudge()),
    )


def test_learned_subject_is_at_the_ceiling_and_the_base_at_the_floor(evidence):
    learned = dino.measure(evidence)["dino"]
    assert learned.normalised == pytest.approx(1, abs=0.02)
    assert learned.gain_interval[0] > 0.5
    untuned = dino.measure(replace(evidence, samples=evidence.base))["dino"]
    assert untuned.normalised == pytest.approx(0, abs=1e-9)
    assert untuned.gain == 0


def test_a_copyist_is_at_the_text_floor_and_the_base_at_its_ceiling(evidence):
    copyist = clip_t.measure(evidence)["clip_t"]
    assert copyist.normalised == pytest.approx(0, abs=0.02)
    assert clip_t.measure(replace(evidence, samples=evidence.base))["clip_t"].normalised == pytest.approx(
        1, abs=1e-9
    )


def test_subject_only_ignores_the_background(evidence):
    def in_front_of(background, seed) -> Picture:
        scene = plain(background, "green one", seed)
        scene.pixels[4:12, 4:12] = RED
        mask = np.zeros((16, 16), bool)
        mask[4:12, 4:12] = True
        return replace(scene, subject=isolated(scene.pixels, mask))

    placed = replace(
        evidence,
        photos=[in_front_of(GREEN, seed) for seed in range(3)],
        samples=[in_front_of(BLUE, seed) for seed in range(3)],
        base=[],
    )
    scores = dino.measure(placed)
    assert scores["dino_subject"].value > 0.99
    assert scores["dino"].value < 0.6


def test_a_subject_that_is_missing_from_a_sample_is_not_dropped(evidence):
    with_masks = replace(
        evidence,
        photos=[replace(photo, subject=photo.pixels) for photo in evidence.photos],
        samples=[
            replace(evidence.samples[0], subject=evidence.samples[0].pixels),
            plain(BLUE, "blue one", 1),
        ],
    )
    assert dino.measure(with_masks)["dino_subject"].value < 0.8


def test_isolated_is_centred_square_and_grey_outside():
    pixels, mask = np.full((20, 20, 3), 9, np.uint8), np.zeros((20, 20), bool)
    mask[0:10, 15:20] = True
    alone = isolated(pixels, mask)
    assert alone.shape == (12, 12, 3)
    assert (alone[1:11, 3:8] == 9).all()
    assert (alone == 9).all(-1).sum() == 50
    assert (alone[(alone != 9).any(-1)] == 127).all()
    assert isolated(pixels, np.zeros((20, 20), bool)) is None


def test_drawing_one_picture_over_and_over_has_no_diversity(evidence):
    stuck = [replace(evidence.samples[0], seed=seed) for seed in range(3)]
    assert diversity.measure(replace(evidence, samples=stuck))["div"].value == pytest.approx(0, abs=1e-6)
    mixed = [plain(RED, "p", 0), plain(BLUE, "p", 1)]
    assert diversity.measure(replace(evidence, samples=mixed))["div"].value > 0.5


def test_pictures_of_different_prompts_do_not_count_as_diversity(evidence):
    scores = diversity.measure(replace(evidence, samples=evidence.base))
    assert scores["div"].value < 0.05


def test_pres_and_drift_rise_when_the_subject_takes_over_the_class(evidence):
    kept = drift.measure(evidence)
    assert kept["drift"].value == pytest.approx(0, abs=1e-6)
    assert kept["pres"].value == pytest.approx(kept["pres"].marks["base"])
    taken = drift.measure(replace(evidence, class_tuned=drawn({"red thing": RED}, range(4))))
    assert taken["pres"].value > 0.95 > kept["pres"].value
    assert taken["drift"].value > 0.5


def test_a_copied_photo_is_called_a_copy_mirrored_or_not_and_a_new_picture_is_not(evidence):
    assert memorisation.measure(evidence)["memorisation"].marks["copies"] == 0
    photo = evidence.photos[1].pixels
    for copied in (photo, photo[:, ::-1].copy()):
        samples = [*evidence.samples, Picture("copy", copied, "green one", 9)]
        found = memorisation.measure(replace(evidence, samples=samples))["memorisation"]
        assert found.marks["copies"] == 1
        assert found.marks["psnr"] > 50
        assert int(np.argmax(found.per_picture)) == len(samples) - 1


def test_photos_like_the_bases_own_pictures_are_familiar_and_others_foreign(evidence):
    own = drawn({"red thing": BLUE, "blue one": BLUE}, range(6))
    at_home = replace(
        evidence, class_base=own, base=[], photos=[plain(BLUE, seed=seed + 50) for seed in range(3)]
    )
    assert familiarity.measure(at_home)["familiarity"].marks["gap"] < familiarity.FOREIGN
    abroad = familiarity.measure(replace(at_home, photos=evidence.photos))["familiarity"]
    assert abroad.marks["gap"] > familiarity.FOREIGN
    assert abroad.value < abroad.marks["base"]


def test_the_ceiling_leaves_each_photo_itself_out():
    assert among(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])) == pytest.approx(1 / 3)
    assert among(np.array([[1.0, 0.0]])) is None


def test_pairs_need_the_same_prompt_and_seed():
    ours, theirs = drawn({"a": RED, "b": RED}), drawn({"b": RED, "a": RED})[:3]
    assert pairs(ours, theirs) == [(0, 2), (2, 0), (3, 1)]


def test_flat_keys_and_a_scale_without_length():
    score = Score(0.5, (0.4, 0.6), floor=0.2, ceiling=0.8, marks={"base": 0.1})
    assert score.flat("dino") == {
        "dino": 0.5, "dino_low": 0.4, "dino_high": 0.6, "dino_floor": 0.2, "dino_ceiling": 0.8,
        "dino_normalised": 0.5, "dino_base": 0.1,
    }  # fmt: skip
    assert Score(0.5, floor=0.8, ceiling=0.8).normalised is None
    assert Score(0.5, floor=0.9, ceiling=0.8).normalised is None
