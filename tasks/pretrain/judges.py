"""The text judge: a small CLIP trained on renders and their captions, for CLIP-T, CLIP-I and zero-shot
questions.

Source: Radford et al. 2021, arXiv:2103.00020, figure 3. Differs: texts that are true of another picture of
the batch are no negatives of it (see `statements`); half of the texts are short, as questions are; for most
of the run the image tower sees only some of the patches (Li et al. 2023, arXiv:2212.00794, FLIP); linear
heads on the image tower name what is in the picture while training.

The figures are measured on `data/heldout` and nothing is chosen by them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizer,
    ViTModel,
)

from tasks.pretrain import augmentation, checkpoints, fitting, flags, positions, statements
from tasks.pretrain.devices import moved
from tasks.pretrain.renders import Renders, to_unit
from tasks.shared import folders, params
from tasks.toyworld.captions import CLASSES, COLOURS, SETTINGS, setting_phrase
from tasks.toyworld.identity import PATTERNS

Judge = Any
"""A CLIPModel or a VisionTextDualEncoderModel: what has `get_image_features`, `get_text_features`, `visual_projection`."""
ANSWERS = {"class": CLASSES, "colour": COLOURS, "secondary": COLOURS, "pattern": PATTERNS}


class Params(params.Params):
    """Size of the judge and of its training."""

    width: int = Field(default=192, description="of both towers; a multiple of 64")
    vision_layers: int = Field(default=4, description="blocks of the image tower")
    text_layers: int = Field(default=3, description="blocks of the text tower")
    patch_px: int = Field(default=16, description="side of a patch")
    projection: int = Field(default=128, description="width of the shared space")
    batch: int = Field(default=128, description="pictures, each with one text, a step")
    seen: float = Field(
        default=0.6, description="part of the patches that the image tower sees in the first part of the run"
    )
    seen_until: float = Field(default=0.5, description="part of the run after which it sees all patches")
    short_texts: float = Field(
        default=0.5, description="share of texts that are short questions instead of captions"
    )
    head_weight: float = Field(
        default=0.5, description="weight of the naming heads beside the contrastive term"
    )
    steps: int = Field(default=1900, description="optimizer steps")
    learning_rate: float = Field(default=1e-3, description="AdamW: embeddings, projections, norms, heads")
    matrix_rate: float = Field(default=5e-3, description="Muon: matrices of the blocks")
    pictures: int = Field(default=24000, description="of the train split are trained on, the first ones")
    watched: int = Field(default=400, description="the next ones, to watch the training")
    device: str = Field(default="cpu", description="where it is trained; cuda: one GPU")
    seed: int = Field(default=0, description="of weights and batches")


def build(options: Params, tokenizer: CLIPTokenizer, size_px: int = 128) -> CLIPModel:
    """The judge before training, for a tokenizer. Its positions start as `positions` says."""
    torch.manual_seed(options.seed)
    tower = {
        "hidden_size": options.width,
        "intermediate_size": 4 * options.width,
        "projection_dim": options.projection,
    }
    heads = options.width // 64
    words = {
        "vocab_size": len(tokenizer),
        "num_hidden_layers": options.text_layers,
        "num_attention_heads": heads,
        "max_position_embeddings": min(77, tokenizer.model_max_length),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    picture = {
        "num_hidden_layers": options.vision_layers,
        "hidden_act": "gelu",  # as in a ViT
        "num_attention_heads": heads,
        "image_size": size_px,
        "patch_size": options.patch_px,
    }
    judge = CLIPModel(
        CLIPConfig(
            text_config=tower | words, vision_config=tower | picture, projection_dim=options.projection
        )
    )
    with torch.no_grad():
        places = judge.vision_model.embeddings.position_embedding.weight
        places[1:] = positions.sines_and_cosines(size_px // options.patch_px, options.width)
    return judge


def start_from(judge: CLIPModel, encoder: ViTModel, pixels: Tensor) -> None:
    """Let the image tower begin as a ViT of its width, depth and patches that can already tell things apart.

    CLIP normalises what enters the first block and a ViT does not, so the norm starts with the gain that keeps
    the usual size of an embedded patch. The two towers' tokens are then alike (cosine 0.94), not equal.

    Args:
        pixels: some pictures to measure that size on, 0..1. [b 3 h w]
    """
    tower, source = judge.vision_model, encoder.embeddings
    with torch.no_grad():
        tower.embeddings.patch_embedding.weight.copy_(source.patch_embeddings.projection.weight)
        tower.embeddings.class_embedding.copy_(source.cls_token[0, 0])
        tower.embeddings.position_embedding.weight.copy_(source.position_embeddings[0])
        tower.embeddings.position_embedding.weight[1:] += source.patch_embeddings.projection.bias
        tower.pre_layrnorm.weight.fill_(float(source(pixels * 2 - 1)[:, 1:].std(-1).mean()))
        tower.post_layernorm.load_state_dict(encoder.layernorm.state_dict())
        for new, old in zip(tower.encoder.layers, encoder.layers, strict=True):
            for ours, theirs in {
                "q_proj": "q_proj",
                "k_proj": "k_proj",
                "v_proj": "v_proj",
                "out_proj": "o_proj",
            }.items():
                getattr(new.self_attn, ours).load_state_dict(getattr(old.attention, theirs).state_dict())
            new.layer_norm1.load_state_dict(old.layernorm_before.state_dict())
            new.layer_norm2.load_state_dict(old.layernorm_after.state_dict())
            new.mlp.fc1.load_state_dict(old.mlp.fc1.state_dict())
            new.mlp.fc2.load_state_dict(old.mlp.fc2.state_dict())


def image_tower(judge: CLIPModel, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
    """The pooled token of pictures of which only some patches are seen.

    Args:
        pixels: 0..1. [b 3 h w]
        kept: numbers of the tokens to keep, 0 the class token, another row for each picture; None: all. [b k]
    Returns:
        before the projection. [b width]
    """
    tower = judge.vision_model
    hidden = tower.embeddings(pixels * 2 - 1)
    if kept is not None:
        hidden = hidden.gather(1, kept[..., None].expand(-1, -1, hidden.shape[-1]))
    hidden = tower.encoder(inputs_embeds=tower.pre_layrnorm(hidden)).last_hidden_state
    return tower.post_layernorm(hidden[:, 0])


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


def train(
    data: Path,
    tokenizer: Path,
    encoder: Path,
    out: Path,
    work: Path,
    options: Params,
    stop_at: int | None = None,
) -> None:
    """Train on `data/train`, write `out` in half precision, and measure on `data/heldout`, whose individuals
    are others.

    Args:
        data: folder of the rendered splits.
        tokenizer: the miniature's, a CLIPTokenizer folder.
        encoder: the identity judge, which the image tower starts from.
        work: checkpoint and curve; give it again and an interrupted run goes on.
        stop_at: as in `fitting.fit`; then nothing is written to `out`.
    """
    words = CLIPTokenizer.from_pretrained(tokenizer)
    split = Renders(data / "train")
    count = min(options.pictures, len(split) - options.watched)
    student = Student(build(options, words, split.images.shape[1]), options.width)
    start = ViTModel.from_pretrained(encoder, add_pooling_layer=False)
    start_from(student.judge, start, to_unit(split.images[:64]))
    student.to(options.device)
    patches = (split.images.shape[1] // options.patch_px) ** 2

    def losses(step: int) -> dict[str, Tensor]:
        rng = checkpoints.draws(options.seed, step)
        batch = drawn(split, count, options.batch, options.short_texts, rng).to(options.device)
        kept = None
        if step < options.seen_until * options.steps:
            kept = augmentation.some_patches(options.batch, patches, options.seen, rng).to(options.device)
        pooled = image_tower(student.judge, batch.pixels, kept)
        texts = embed_texts(student.judge, words, batch.texts)
        return student.losses(pooled, texts, batch, options.head_weight)

    def watch() -> dict[str, float]:
        return figures(student.judge, words, split, np.arange(count, count + options.watched))

    rates = options.learning_rate, options.matrix_rate
    if not fitting.fit(student, losses, options.steps, options.batch, work, *rates, watch, stop_at):
        return
    heldout = Renders(data / "heldout")
    save(
        student.judge,
        words,
        out,
        figures(student.judge.half().float(), words, heldout, np.arange(len(heldout))),
    )


def _text(scene: statements.Scene, rng: np.random.Generator, short: float) -> tuple[str, frozenset[str]]:
    if rng.random() < short:
        return statements.short_text(scene, rng)
    return scene["caption"], statements.said(scene["caption"], scene)


def main() -> None:
    """Command line of this file."""
    flags.run(train, Params, __doc__, paths=("data", "tokenizer", "encoder", "out", "work"))


if __name__ == "__main__":
    main()
