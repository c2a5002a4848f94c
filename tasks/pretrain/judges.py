"""The text judge: a small CLIP trained on renders and their captions, for CLIP-T, CLIP-I and zero-shot
questions.

Source: Radford et al. 2021, arXiv:2103.00020, figure 3. Differs: texts that are true of another picture of
the batch are no negatives of it (see `two_towers`); half of the texts are short, as questions are; for most
of the run the image tower sees only some of the patches (Li et al. 2023, arXiv:2212.00794, FLIP); linear
heads on the image tower name what is in the picture while training.

The figures are measured on `data/heldout` and nothing is chosen by them.
"""

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, ViTModel

from tasks.pretrain import augmentation, checkpoints, fitting, flags, positions, two_towers
from tasks.pretrain.renders import Renders, to_unit
from tasks.shared import params


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
    student = two_towers.Student(build(options, words, split.images.shape[1]), options.width)
    start = ViTModel.from_pretrained(encoder, add_pooling_layer=False)
    start_from(student.judge, start, to_unit(split.images[:64]))
    student.to(options.device)
    patches = (split.images.shape[1] // options.patch_px) ** 2

    def losses(step: int) -> dict[str, Tensor]:
        rng = checkpoints.draws(options.seed, step)
        batch = two_towers.drawn(split, count, options.batch, options.short_texts, rng).to(options.device)
        kept = None
        if step < options.seen_until * options.steps:
            kept = augmentation.some_patches(options.batch, patches, options.seen, rng).to(options.device)
        pooled = image_tower(student.judge, batch.pixels, kept)
        texts = two_towers.embed_texts(student.judge, words, batch.texts)
        return student.losses(pooled, texts, batch, options.head_weight)

    def watch() -> dict[str, float]:
        return two_towers.figures(student.judge, words, split, np.arange(count, count + options.watched))

    rates = options.learning_rate, options.matrix_rate
    if not fitting.fit(student, losses, options.steps, options.batch, work, *rates, watch, stop_at):
        return
    heldout = Renders(data / "heldout")
    two_towers.save(
        student.judge,
        words,
        out,
        two_towers.figures(student.judge.half().float(), words, heldout, np.arange(len(heldout))),
    )


def main() -> None:
    """Command line of this file."""
    flags.run(train, Params, __doc__, paths=("data", "tokenizer", "encoder", "out", "work"))


if __name__ == "__main__":
    main()
