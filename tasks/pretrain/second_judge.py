"""The second text judge, for methods that train on a reward: whoever optimised one judge is scored by the other.

Other architecture (a ConvNeXt and a BERT), other individuals, other pictures and another seed than the first one's; the
loss, the texts and the figures are shared (`two_towers`). Source: Zhai et al. 2022, arXiv:2111.07991 (two unlike towers,
contrastive), in the form of transformers' VisionTextDualEncoderModel; Liu et al. 2022, arXiv:2201.03545 (ConvNeXt).
"""

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import (
    BertConfig,
    CLIPTokenizer,
    ConvNextConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from tasks.pretrain import checkpoints, fitting, flags, two_towers
from tasks.pretrain.renders import Renders
from tasks.shared import params


class Params(params.Params):
    """Size of the judge and of its training."""

    widths: tuple[int, ...] = Field(
        default=(32, 64, 128, 256), description="channels of the image tower's stages"
    )
    depths: tuple[int, ...] = Field(default=(1, 2, 3, 1), description="blocks of each stage")
    text_width: int = Field(default=128, description="of the text tower; a multiple of 64")
    text_layers: int = Field(default=2, description="blocks of the text tower")
    projection: int = Field(default=128, description="width of the shared space")
    batch: int = Field(default=64, description="pictures, each with one text, a step")
    short_texts: float = Field(
        default=0.5, description="share of texts that are short questions instead of captions"
    )
    head_weight: float = Field(
        default=1.0, description="weight of the naming heads beside the contrastive term"
    )
    steps: int = Field(default=4800, description="optimizer steps")
    learning_rate: float = Field(default=2e-3, description="AdamW: convolutions, embeddings, norms, heads")
    matrix_rate: float = Field(default=5e-3, description="Muon: matrices of the blocks")
    watched: int = Field(default=400, description="the last pictures, to watch the training")
    device: str = Field(default="cpu", description="where it is trained; cuda: one GPU")
    seed: int = Field(default=1, description="of weights and batches")


def build(options: Params, tokenizer: CLIPTokenizer, size_px: int = 128) -> VisionTextDualEncoderModel:
    """The judge before training, for a tokenizer."""
    torch.manual_seed(options.seed)
    picture = ConvNextConfig(
        hidden_sizes=list(options.widths),
        depths=list(options.depths),
        num_stages=len(options.widths),
        image_size=size_px,
        layer_scale_init_value=1.0,  # 1e-6 is for deep nets: seven blocks would be silent for the first hundreds of steps
    )
    picture.hidden_size = options.widths[-1]  # what the two-tower model reads
    words = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.text_width,
        intermediate_size=4 * options.text_width,
        num_hidden_layers=options.text_layers,
        num_attention_heads=options.text_width // 64,
        max_position_embeddings=min(77, tokenizer.model_max_length),
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    towers = VisionTextDualEncoderConfig.from_vision_text_configs(
        picture, words, projection_dim=options.projection
    )
    return VisionTextDualEncoderModel(towers)


def train(
    renders: Path,
    heldout: Path,
    tokenizer: Path,
    out: Path,
    work: Path,
    options: Params,
    stop_at: int | None = None,
) -> None:
    """Train on `renders`, write `out` in half precision, and measure on `heldout`, whose individuals are others.

    Args:
        renders, heldout: folders of rendered splits.
        tokenizer: the miniature's, a CLIPTokenizer folder.
        work: checkpoint and curve; give it again and an interrupted run goes on.
        stop_at: as in `fitting.fit`; then nothing is written to `out`.
    """
    words, split = CLIPTokenizer.from_pretrained(tokenizer), Renders(renders)
    count = len(split) - options.watched
    student = two_towers.Student(build(options, words, split.images.shape[1]), options.widths[-1])
    student.judge.vision_model.to(memory_format=torch.channels_last)
    student.to(options.device)

    def losses(step: int) -> dict[str, Tensor]:
        rng = checkpoints.draws(options.seed, step)
        batch = two_towers.drawn(split, count, options.batch, options.short_texts, rng).to(options.device)
        pixels = (batch.pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
        pooled = student.judge.vision_model(pixels).pooler_output
        texts = two_towers.embed_texts(student.judge, words, batch.texts)
        return student.losses(pooled, texts, batch, options.head_weight)

    def watch() -> dict[str, float]:
        return two_towers.figures(student.judge, words, split, np.arange(count, len(split)))

    rates = options.learning_rate, options.matrix_rate
    if not fitting.fit(student, losses, options.steps, options.batch, work, *rates, watch, stop_at):
        return
    others = Renders(heldout)
    rounded = student.judge.half().float()  # as it will be opened
    two_towers.save(rounded, words, out, two_towers.figures(rounded, words, others, np.arange(len(others))))


def main() -> None:
    """Command line of this file."""
    flags.run(train, Params, __doc__, paths=("renders", "heldout", "tokenizer", "out", "work"))


if __name__ == "__main__":
    main()
