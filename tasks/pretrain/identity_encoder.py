"""The identity judge: two pictures in, the same individual or not, whatever the background and the view.

A small ViT whose CLS token of `last_hidden_state` is the embedding, the way facebook/dino-vits16 is read, so
that evaluation treats both alike. Trained on individuals that no other part of the miniature has seen:
several renders of one individual in different settings are each other's positives, other individuals of the
same class fill the batch as near negatives.

Source: Khosla et al. 2020, arXiv:2004.11362, eq. 2 (supervised contrastive). Differs: for part of the run
some patches are hidden (Li et al. 2023, arXiv:2212.00794); linear heads on the same token name class,
colours, pattern and decal while training and are thrown away.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from tasks.pretrain import augmentation, checkpoints, fitting, flags, identity_figures, positions
from tasks.pretrain.renders import Renders, to_unit
from tasks.shared import folders, params
from tasks.toyworld import identity as toys

QUESTIONS = {  # attribute of an Identity -> its possible answers
    "cls": toys.CLASSES,
    "primary": toys.COLOURS,
    "secondary": toys.COLOURS,
    "pattern": toys.PATTERNS,
    "decal": toys.DECALS,
}


class Params(params.Params):
    """Size of the judge and of its training."""

    hidden_size: int = Field(default=192, description="width of the ViT and of the embedding")
    layers: int = Field(default=4, description="transformer blocks")
    patch_px: int = Field(default=16, description="side of a patch")
    size_px: int = Field(default=128, description="side of the picture")
    watched: int = Field(
        default=100, description="individuals of the judge split kept out of training, to watch it"
    )
    per_batch: int = Field(default=36, description="individuals in a batch, of three classes")
    views_per_batch: int = Field(default=4, description="renders of each in a batch")
    temperature: float = Field(default=0.1, description="tau of eq. 2")
    head_weight: float = Field(
        default=0.3, description="weight of the attribute heads beside the contrastive term"
    )
    seen: float = Field(default=0.6, description="part of the patches seen in the first part of the run")
    seen_until: float = Field(default=0.6, description="part of the run after which all patches are seen")
    steps: int = Field(default=600, description="optimizer steps")
    learning_rate: float = Field(default=1e-3, description="AdamW: embeddings, norms, heads")
    matrix_rate: float = Field(default=5e-3, description="Muon: matrices of the blocks")
    seed: int = Field(default=0, description="of weights and batches")


@dataclass(frozen=True)
class Individuals:
    """The pictures of a split that show one individual alone and in colour, by individual."""

    identities: list[toys.Identity]
    pictures: list[np.ndarray]  # numbers of each one's pictures in the split, at least two

    @classmethod
    def of(cls, split: Renders) -> "Individuals":
        """Group a split, in the order of first appearance."""
        found: dict[tuple[int, str], list[int]] = {}
        for number, scene in enumerate(split.scenes):
            if len(scene["objects"]) == 1 and scene["style"] != "sketch":
                one = scene["objects"][0]
                found.setdefault((one["identity"], one["class"]), []).append(number)
        kept = {key: np.array(numbers) for key, numbers in found.items() if len(numbers) > 1}
        return cls([toys.draw_identity(*key) for key in kept], list(kept.values()))


def build(options: Params) -> ViTModel:
    """The judge before training, without the pooler, which nobody would train.

    Its positions start as `positions` says.
    """
    torch.manual_seed(options.seed)
    judge = ViTModel(
        ViTConfig(
            hidden_size=options.hidden_size,
            num_hidden_layers=options.layers,
            num_attention_heads=options.hidden_size // 64,
            intermediate_size=4 * options.hidden_size,
            image_size=options.size_px,
            patch_size=options.patch_px,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    )
    with torch.no_grad():
        judge.embeddings.position_embeddings[0, 1:] = positions.sines_and_cosines(
            options.size_px // options.patch_px, options.hidden_size
        )
    return judge


def class_token(judge: ViTModel, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
    """The CLS token of `last_hidden_state` of pictures of which only some patches are seen.

    Args:
        pixels: 0..1. [b 3 h w]
        kept: as `augmentation.some_patches` gives them; None: all. [b k]
    """
    hidden = judge.embeddings(pixels * 2 - 1)
    if kept is not None:
        hidden = hidden.gather(1, kept[..., None].expand(-1, -1, hidden.shape[-1]))
    for layer in judge.layers:
        hidden = layer(hidden, None)
    return judge.layernorm(hidden[:, 0])


def embed(judge: ViTModel, pixels: Tensor) -> Tensor:
    """Unit-length CLS tokens. pixels 0..1 [b 3 h w] -> [b hidden]"""
    return F.normalize(class_token(judge, pixels), dim=-1)


def contrast(embeddings: Tensor, owners: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss, positives outside the logarithm (eq. 2).

    Args:
        embeddings: unit length. [b d]
        owners: number of the individual in each picture. [b]
    Returns:
        mean over pictures that have a positive, scalar
    """
    alone = torch.eye(len(owners), dtype=torch.bool)
    scores = (embeddings @ embeddings.T / temperature).masked_fill(alone, float("-inf"))
    logs = scores.log_softmax(1).masked_fill(alone, 0.0)
    positive = (owners[:, None] == owners[None]) & ~alone
    counts = positive.sum(1)
    return -((logs * positive).sum(1) / counts.clamp(min=1))[counts > 0].mean()


class Student(nn.Module):
    """The judge and the heads that only training needs."""

    def __init__(self, options: Params):
        super().__init__()
        self.judge = build(options)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(options.hidden_size, len(a)) for name, a in QUESTIONS.items()}
        )
        self.shape = nn.Linear(options.hidden_size, 4)  # the class-specific proportions, 0..1

    def losses(
        self, pixels: Tensor, kept: Tensor | None, owners: Tensor, facts: dict[str, Tensor], options: Params
    ) -> dict[str, Tensor]:
        """The weighted terms of one batch.

        Args:
            pixels, kept: as `class_token` takes them.
            owners: number of each picture's individual. [b]
            facts: right answers by attribute [b], and `shape` [b 4].
        """
        token = class_token(self.judge, pixels, kept)
        named = torch.stack(
            [F.cross_entropy(head(token), facts[name]) for name, head in self.heads.items()]
        ).mean()
        proportions = 4 * F.mse_loss(self.shape(token), facts["shape"])
        return {
            "contrast": contrast(F.normalize(token, dim=-1), owners, options.temperature),
            "attributes": options.head_weight * named,
            "proportions": options.head_weight * proportions,
        }


def draw_batch(
    split: Renders, people: Individuals, trained: int, rng: np.random.Generator, options: Params
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Individuals of three classes, several augmented renders of each.

    Args:
        trained: only the first so many individuals are drawn.
    Returns:
        pixels 0..1 [b 3 s s], owners [b], facts as `Student.losses` takes them
    """
    by_class: dict[str, list[int]] = {}
    for number, one in enumerate(people.identities[:trained]):
        by_class.setdefault(one.cls, []).append(number)
    classes = rng.permutation(sorted(by_class))[:3]
    chosen = np.concatenate([rng.permutation(by_class[name])[: options.per_batch // 3] for name in classes])
    numbers = [rng.permutation(people.pictures[one])[: options.views_per_batch] for one in chosen]
    owners = np.repeat(chosen, [len(own) for own in numbers])
    pixels = augmentation.reframed(split.images[np.concatenate(numbers)], rng)
    pixels = augmentation.softened(augmentation.relit(pixels, rng), rng)
    facts = {
        name: torch.tensor([answers.index(getattr(people.identities[one], name)) for one in owners])
        for name, answers in QUESTIONS.items()
    }
    facts["shape"] = torch.tensor([people.identities[one].shape for one in owners])
    return pixels, torch.from_numpy(owners), facts


@torch.inference_mode()
def embed_images(judge: ViTModel, images: np.ndarray) -> Tensor:
    """Embeddings of any number of pictures. uint8 [... s s 3] -> [... d]"""
    flat = images.reshape(-1, *images.shape[-3:])
    parts = [embed(judge, to_unit(flat[start : start + 64])) for start in range(0, len(flat), 64)]
    return torch.cat(parts).reshape(*images.shape[:-3], -1)


def save(judge: ViTModel, folder: Path, found: dict[str, float] | None = None) -> None:
    """Write the judge as `ViTModel.from_pretrained` and `AutoImageProcessor` open it, half precision, and its
    figures.
    """
    size = judge.config.image_size
    with folders.staged(folder) as fresh:
        judge.half().save_pretrained(fresh)
        judge.float()
        described = json.loads((fresh / "config.json").read_text())
        (fresh / "config.json").write_text(json.dumps(described | {"dtype": "float32"}, indent=2) + "\n")
        ViTImageProcessor(size={"height": size, "width": size}).save_pretrained(fresh)
        if found is not None:
            quality = {name: value for name, value in found.items() if name.startswith("identity_")}
            for name, values in (("figures", found), ("quality", quality)):
                (fresh / f"{name}.json").write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


def train(data: Path, out: Path, work: Path, options: Params, stop_at: int | None = None) -> None:
    """Train on `data/judge`, write `out` in half precision, and measure on ToyBench.

    Args:
        data: folder of the rendered splits.
        work: checkpoint and curve; give it again and an interrupted run goes on.
        stop_at: as in `fitting.fit`; then nothing is written to `out`.
    """
    split = Renders(data / "judge")
    people = Individuals.of(split)
    trained = len(people.identities) - options.watched
    student = Student(options)
    patches = (options.size_px // options.patch_px) ** 2
    fewest = 4  # pictures of an individual to be watched
    watched = [n for n in range(trained, len(people.identities)) if len(people.pictures[n]) >= fewest]
    gallery = np.stack([people.pictures[n][:fewest] for n in watched])

    def losses(step: int) -> dict[str, Tensor]:
        rng = checkpoints.draws(options.seed, step)
        pixels, owners, facts = draw_batch(split, people, trained, rng, options)
        seen = options.seen if step < options.seen_until * options.steps else 1.0
        kept = augmentation.some_patches(len(pixels), patches, seen, rng)
        return student.losses(pixels, kept, owners, facts, options)

    def watch() -> dict[str, float]:
        return identity_figures.figures(
            embed_images(student.judge, split.images[gallery]), [people.identities[n].cls for n in watched]
        )

    rates = options.learning_rate, options.matrix_rate
    batch = options.per_batch * options.views_per_batch
    if not fitting.fit(student, losses, options.steps, batch, work, *rates, watch, stop_at):
        return
    rounded = student.judge.half().float()  # as it will be opened
    found = identity_figures.toybench_figures(partial(embed_images, rounded), options.size_px)
    save(rounded, out, found)


if __name__ == "__main__":
    flags.run(train, Params, __doc__)
