"""What the text judges share whatever their towers are: batches of pictures and texts, loss, figures, file format.

A judge is what transformers opens as a model with `get_image_features`, `get_text_features` and `visual_projection`: a
CLIPModel or a VisionTextDualEncoderModel.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPTokenizer

from tasks.pretrain import augmentation, statements
from tasks.pretrain.devices import moved
from tasks.pretrain.renders import Renders, to_unit
from tasks.shared import folders
from tasks.toyworld.captions import CLASSES, COLOURS, SETTINGS, setting_phrase
from tasks.toyworld.identity import PATTERNS

Judge = Any
ANSWERS = {"class": CLASSES, "colour": COLOURS, "secondary": COLOURS, "pattern": PATTERNS}


def embed_texts(judge: Judge, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Unit-length embeddings. [n projection]"""
    tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(judge.device)
    features = judge.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
    return F.normalize(features.pooler_output, dim=-1)


@torch.inference_mode()
def embed_images(judge: Judge, images: np.ndarray) -> Tensor:
    """Unit-length embeddings of uint8 [n h w 3]. [n projection]"""
    parts = [
        judge.get_image_features(pixel_values=to_unit(part).to(judge.device) * 2 - 1).pooler_output
        for part in (images[start : start + 64] for start in range(0, len(images), 64))
    ]
    return F.normalize(torch.cat(parts), dim=-1)


def contrast(scores: Tensor, true: Tensor) -> Tensor:
    """Symmetric InfoNCE in which what is true beside the diagonal counts neither for nor against.

    Args:
        scores: scaled cosines. [texts pictures]
        true: bool, the same size.
    """
    beside = true & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(beside, float("-inf"))
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


class Student(nn.Module):
    """A judge and the heads that only training needs.

    Args:
        judge: two towers with `visual_projection` and `logit_scale`.
        width: of what its image tower gives before the projection.
    """

    def __init__(self, judge: Judge, width: int):
        super().__init__()
        self.judge = judge
        names = ANSWERS | {"setting": SETTINGS}
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(answers)) for name, answers in names.items()})

    def losses(self, pooled: Tensor, texts: Tensor, batch: "Batch", head_weight: float) -> dict[str, Tensor]:
        """The weighted terms of one batch.

        Args:
            pooled: the image tower's answer to its pictures. [b width]
            texts: its texts, unit length. [b projection]
        """
        pictures = F.normalize(self.judge.visual_projection(pooled), dim=-1)
        scale = self.judge.logit_scale.clamp(max=4.6).exp()  # at most 100, as in the paper
        questions = [F.cross_entropy(head(pooled), batch.named[name]) for name, head in self.heads.items()]
        return {
            "contrast": contrast(scale * texts @ pictures.T, batch.true),
            "names": head_weight * torch.stack(questions).mean(),
        }


@dataclass(frozen=True)
class Batch:
    """Some pictures with a text each."""

    pixels: Tensor  # 0..1. [b 3 s s]
    texts: list[str]
    true: Tensor  # as `contrast` takes it
    named: dict[str, Tensor]  # right answers of each head, -100 where the question makes no sense. [b]

    def to(self, device: str) -> "Batch":
        """The same on another device."""
        named = {name: moved(answers, device) for name, answers in self.named.items()}
        return Batch(moved(self.pixels, device), self.texts, moved(self.true, device), named)


def drawn(split: Renders, count: int, size: int, short: float, rng: np.random.Generator) -> Batch:
    """A batch of the first `count` pictures, augmented.

    Args:
        short: share of texts that are short questions instead of captions.
    """
    chosen = rng.integers(count, size=size)
    scenes = [split.scenes[index] for index in chosen]
    texts, said = zip(*(_text(scene, rng, short) for scene in scenes), strict=True)
    pixels = augmentation.reframed(split.images[chosen], rng, mirrored=True)
    pixels = augmentation.softened(augmentation.relit(pixels, rng), rng)
    true = statements.truth(list(said), [statements.shown(scene) for scene in scenes])
    return Batch(pixels, list(texts), true, right_answers(scenes))


def right_answers(scenes: list[statements.Scene]) -> dict[str, Tensor]:
    """For the heads: the setting, and what a lone object in colour is; -100 elsewhere. [n] each"""
    rows = {"setting": torch.tensor([SETTINGS.index(scene["setting"]) for scene in scenes])}
    for name, answers in ANSWERS.items():
        clear = [len(s["objects"]) == 1 and (s["style"] != "sketch" or name == "class") for s in scenes]
        rows[name] = torch.tensor(
            [
                answers.index(s["objects"][0][name]) if ok else -100
                for s, ok in zip(scenes, clear, strict=True)
            ]
        )
    return rows


def figures(
    judge: Judge, tokenizer: CLIPTokenizer, renders: Renders, indices: np.ndarray
) -> dict[str, float]:
    """Zero-shot accuracies on lone objects, chance 1 in 10 each, and how often the nearest of 100 captions is
    true.

    Class: "a photo of a dog"; setting: "on the beach"; colour: "a red dog" with the class given, sketches
    left out.
    """
    pictures = embed_images(judge, renders.images[indices])
    scenes = [renders.scenes[index] for index in indices]
    with torch.inference_mode():
        kinds = embed_texts(judge, tokenizer, [f"a photo of a {cls}" for cls in CLASSES])
        places = embed_texts(judge, tokenizer, [setting_phrase(place) for place in SETTINGS])
        coloured = [statements.coloured_thing(colour, cls) for cls in CLASSES for colour in COLOURS]
        colours = embed_texts(judge, tokenizer, coloured).reshape(len(CLASSES), len(COLOURS), -1)
        captions = embed_texts(judge, tokenizer, [scene["caption"] for scene in scenes])
    rights: dict[str, list[bool]] = {"class": [], "setting": [], "colour": []}
    for picture, scene in zip(pictures, scenes, strict=True):
        rights["setting"].append(SETTINGS[int((places @ picture).argmax())] == scene["setting"])
        if len(scene["objects"]) == 1:
            one = scene["objects"][0]
            rights["class"].append(CLASSES[int((kinds @ picture).argmax())] == one["class"])
            if scene["style"] != "sketch":
                best = int((colours[CLASSES.index(one["class"])] @ picture).argmax())
                rights["colour"].append(COLOURS[best] == one["colour"])
    found = {f"judge_{name}_accuracy": float(np.mean(right)) for name, right in rights.items()}
    retrieved = []
    for start in range(0, len(scenes) - 99, 100):
        group = slice(start, start + 100)
        nearest = (pictures[group] @ captions[group].T).argmax(1)
        for scene, best in zip(scenes[group], nearest, strict=True):
            chosen = scenes[start + int(best)]
            retrieved.append(statements.said(chosen["caption"], chosen) <= statements.shown(scene))
    if retrieved:
        found["caption_retrieval_top1"] = float(np.mean(retrieved))
    return {name: round(value, 4) for name, value in found.items()}


def save(
    judge: Judge, tokenizer: CLIPTokenizer, folder: Path, quality: dict[str, float] | None = None
) -> None:
    """Write the judge as `AutoModel` and `AutoProcessor` open it, half precision, and its figures."""
    size = judge.config.vision_config.image_size
    with folders.staged(folder) as fresh:
        judge.half().save_pretrained(fresh)
        judge.float()
        described = json.loads((fresh / "config.json").read_text())
        (fresh / "config.json").write_text(json.dumps(described | {"dtype": "float32"}, indent=2) + "\n")
        tokenizer.save_pretrained(fresh)
        CLIPImageProcessor(
            size={"shortest_edge": size},
            crop_size={"height": size, "width": size},
            image_mean=[0.5] * 3,
            image_std=[0.5] * 3,
        ).save_pretrained(fresh)
        if quality is not None:
            (fresh / "quality.json").write_text(json.dumps(quality, indent=1, sort_keys=True) + "\n")


def _text(scene: statements.Scene, rng: np.random.Generator, short: float) -> tuple[str, frozenset[str]]:
    if rng.random() < short:
        return statements.short_text(scene, rng)
    return scene["caption"], statements.said(scene["caption"], scene)
