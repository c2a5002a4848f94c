"""What the shipped models can do, on renders and identities that none of them has seen: data/miniature/quality.json.

    python -m bench.miniature [--photos FOLDER_OF_FOLDERS_OF_PHOTOS] [--only judges]

Renders pictures if they are not there, draws 1,000 prompts with the shipped defaults, looks at them with the bench's own eye
(bench/eye.py), and measures autoencoder, judges and segmenter as they lie in data/.
Nothing is tuned on these pictures. `t2i_colour_accuracy` is a share of what the judge reaches on true renders.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from bench import attribute_judge, spread
from bench.eye import open_eye
from tasks.backbones.base import open_base
from tasks.class_prior import Params as PriorParams
from tasks.pretrain import (
    identity_encoder,
    identity_figures,
    segmenter,
    segmenter_figures,
    segmenter_pictures,
    two_towers,
    vae,
)
from tasks.pretrain.renders import Renders
from tasks.segmenters import _sam_checkpoint
from tasks.shared import folders, images, settings
from tasks.toyworld.captions import CLASSES, COLOURS, SETTINGS, setting_phrase
from tasks.toyworld.dataset import write_dataset

SEED, BATCH = 11, 20
PARTS = ("judges", "autoencoder", "drawing")
"""Judges and segmenter; what is kept of a picture; what is drawn."""
RENDERED = (  # folder, pictures, seed, individuals
    ("heldout", 2000, 5, "heldout"),
    ("train", 24600, 1, "train"),
)


def asked_for(count: int) -> tuple[list[str], list[dict[str, int]]]:
    """Prompts in which class, setting and (in half of them) colour are drawn evenly, and their right answers."""
    rng, prompts, answers = np.random.default_rng(SEED), [], []
    for number in range(count):
        cls, setting = CLASSES[number % len(CLASSES)], SETTINGS[number // len(CLASSES) % len(SETTINGS)]
        colour = COLOURS[int(rng.integers(len(COLOURS)))] if rng.random() < 0.5 else ""
        thing = f"{colour} {cls}".strip()
        article = "an" if thing[0] in "aeiou" else "a"
        prompts.append(f"a photo of {article} {thing} {setting_phrase(setting)}")
        known = attribute_judge.ANSWERS
        answers.append(
            {
                "class": known["class"].index(cls),
                "setting": known["setting"].index(setting),
                "colour": known["colour"].index(colour) if colour else attribute_judge.NOT_ASKED,
            }
        )
    return prompts, answers


def pairs_asked_for(count: int) -> tuple[list[str], list[dict[str, list[dict[str, str]]]]]:
    """Prompts with two objects of different classes, drawn evenly, and the scenes they ask for."""
    rng, prompts, scenes = np.random.default_rng(SEED + 1), [], []
    for number in range(count):
        first, second = rng.permutation(CLASSES)[:2]
        place = setting_phrase(SETTINGS[number % len(SETTINGS)])
        prompts.append(f"a photo of a {first} next to a {second} {place}")
        scenes.append({"objects": [{"class": str(first)}, {"class": str(second)}]})
    return prompts, scenes


def drawing(project: Path, data: Path, sheet: Path, count: int) -> dict[str, float]:
    """Are the asked class, setting, colour and second object drawn, as variously as the world is? Shipped sampler."""
    told = settings.load(project / "params.yaml")
    backbone, shipped = open_base(told.base), told.section(PriorParams, "class_prior")
    prompts, answers = asked_for(count)
    began = time.monotonic()
    pictures = backbone.sample(prompts, range(count), shipped, BATCH)
    seconds = (time.monotonic() - began) / count
    two, scenes = pairs_asked_for(max(1, count // 5))
    both = backbone.sample(two, range(len(two)), shipped, BATCH)
    shown = [*_some(pictures, 56), *_some(both, 8)]
    images.save(sheet, images.grid([shown[row * 8 : row * 8 + 8] for row in range(8)]))
    heldout = Renders(data / "heldout")
    judge = open_eye()
    single = [n for n, scene in enumerate(heldout.scenes) if len(scene["objects"]) == 1]
    double = [n for n, scene in enumerate(heldout.scenes) if len(scene["objects"]) == 2]
    true = attribute_judge.right(
        judge, heldout.images[single], [attribute_judge.truth(heldout.scenes[n]) for n in single]
    )
    drawn = attribute_judge.right(judge, pictures, answers)
    return {
        "t2i_class_accuracy": drawn["class"],
        "t2i_setting_accuracy": drawn["setting"],
        "t2i_colour_accuracy": round(drawn["colour"] / true["colour"], 4),
        "t2i_two_objects": attribute_judge.all_present(judge, both, scenes),
        **spread.figures(judge, backbone, pictures, answers, heldout, Renders(data / "train")),
        **{f"bench_judge_{name}_accuracy": share for name, share in true.items()},
        "bench_judge_two_objects": attribute_judge.all_present(
            judge, heldout.images[double], [heldout.scenes[n] for n in double]
        ),
        "t2i_prompts": count,
        "seconds_per_picture": round(seconds, 3),
    }


def _some(pictures: np.ndarray, count: int) -> np.ndarray:
    """`count` of them, evenly spaced."""
    return pictures[np.linspace(0, len(pictures) - 1, count).astype(int)]


def rebuilding(project: Path, data: Path, photos: Path | None) -> dict[str, float]:
    """PSNR of the autoencoder, dB."""
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(
        project / "data" / "miniature" / "vae", torch_dtype=torch.float32
    ).eval()
    measured = vae.measure(model, Renders(data / "heldout"), count=1000)
    figures = {"vae_psnr_db": measured["psnr_db"], "vae_psnr_subject_db": measured["subject_psnr_db"]}
    if photos:
        figures["vae_psnr_photos_db"] = vae.measure_photos(model, photos)["photo_psnr_db"]
    return figures


def judging(project: Path, data: Path) -> dict[str, float]:
    """Judges and segmenter, each opened from its folder."""
    heldout, judged = Renders(data / "heldout"), project / "data" / "judges"
    found: dict[str, float] = {}
    for name, prefix in (("clip", ""), ("second", "second_")):
        if (judged / name).exists():
            judge = AutoModel.from_pretrained(judged / name).float().eval()
            words = AutoTokenizer.from_pretrained(judged / name)
            told = two_towers.figures(judge, words, heldout, np.arange(len(heldout)))
            found |= {f"{prefix}{key}": value for key, value in told.items()}
    eye = AutoModel.from_pretrained(judged / "identity", add_pooling_layer=False).float().eval()
    told = identity_figures.toybench_figures(
        partial(identity_encoder.embed_images, eye), eye.config.image_size
    )
    found |= {key: value for key, value in told.items() if key.startswith("identity_")}
    return found | segmenter_figures.quality(
        segmenter_figures.figures(
            _sam_checkpoint.open(project / "data" / "segmenters" / "sam"),
            segmenter_pictures.Renders(data / "heldout"),
            np.arange(segmenter.Params().measured),
            segmenter.Params().unseen,
        )
    )


def main() -> None:
    """Measure and write quality.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="real photos, a folder for each subject; read only")
    parser.add_argument("--prompts", type=int, default=1000, help="pictures that are drawn and judged")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, help="the other figures stay as they are"
    )
    given, project = parser.parse_args(), settings.find_project(Path.cwd())
    data, out = project / "data" / "toyworld", project / "data" / "miniature"
    needed = RENDERED if "drawing" in given.only else RENDERED[:1]  # the rest look at held-out renders alone
    for name, count, seed, split in needed:
        write_dataset(data / name, count=count, seed=seed, split=split)
    quality: dict[str, float] = {}
    if set(given.only) != set(PARTS):
        quality |= json.loads((out / "quality.json").read_text(encoding="utf-8"))
    if "judges" in given.only:
        quality |= judging(project, data)
    if "autoencoder" in given.only:
        quality |= rebuilding(project, data, given.photos)
    if "drawing" in given.only:
        quality |= drawing(project, data, project / "docs" / "miniature_samples.png", given.prompts)
    with folders.staged_file(out / "quality.json") as path:
        path.write_text(json.dumps(quality, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(quality, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
