"""SAM checkpoints as safetensors: any size that the segment-anything package can build, opened in one way.

A checkpoint is a folder with `config.json` and `model.safetensors`, or a lone .safetensors file of an
official state dict (vit_b, vit_l, vit_h), whose sizes are read from the shapes of its tensors.
"""

import functools
import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from tasks.shared import folders
from tasks.shared.errors import UserError

CONVERT = "python -m tasks.segmenters.sam convert in.pth out.safetensors"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
IMAGENET_MEAN, IMAGENET_STD = (
    [123.675, 116.28, 103.53],
    [58.395, 57.12, 57.375],
)  # 0..255, RGB: what official SAMs expect


def build(config: dict[str, Any]) -> Sam:
    """A randomly initialised Sam from constructor numbers.

    Args:
        config: `image_encoder`, `prompt_encoder`, `mask_decoder`: constructor arguments of the package's
        classes
            (`mask_decoder.transformer`: those of TwoWayTransformer), `pixel_mean` and `pixel_std`, 0..255
            RGB.
    """
    encoder, decoder = dict(config["image_encoder"]), dict(config["mask_decoder"])
    side = encoder["img_size"] // encoder["patch_size"]  # cells along a side of the embedding
    encoder["global_attn_indexes"] = tuple(encoder["global_attn_indexes"])
    sam = Sam(
        image_encoder=ImageEncoderViT(**encoder, norm_layer=functools.partial(nn.LayerNorm, eps=1e-6)),
        prompt_encoder=PromptEncoder(
            embed_dim=encoder["out_chans"],
            image_embedding_size=(side, side),
            input_image_size=(encoder["img_size"], encoder["img_size"]),
            **config["prompt_encoder"],
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=encoder["out_chans"],
            transformer=TwoWayTransformer(embedding_dim=encoder["out_chans"], **decoder.pop("transformer")),
            **decoder,
        ),
        pixel_mean=config["pixel_mean"],
        pixel_std=config["pixel_std"],
    )
    return sam.eval()


def open(checkpoint: Path) -> Sam:
    """Build the Sam that a checkpoint describes and load its weights, in float32 for inference.

    Raises:
        UserError: there is no such checkpoint, it is a pickle, or its tensors are not those of a Sam.
    """
    file = weights_file(checkpoint)
    if file.suffix in (".pth", ".pt", ".bin", ".ckpt"):
        raise UserError(f"{file}: pickled weights can run code when opened; convert once with `{CONVERT}`")
    if not file.is_file():
        raise UserError(
            f"{file}: no such SAM checkpoint; give a folder with {WEIGHTS} or a .safetensors file"
        )
    try:
        state = load_file(file)
    except SafetensorError as error:
        raise UserError(
            f"{file}: not a safetensors file ({error}); a .pth is converted with `{CONVERT}`"
        ) from error
    try:
        described = file.parent / CONFIG
        config = json.loads(described.read_text()) if described.is_file() else config_from_shapes(state)
        sam = build(config)
        sam.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{file}: its tensors do not make a Sam ({type(error).__name__}: {first})") from error
    return sam.float().eval().requires_grad_(False)


def weights_file(checkpoint: Path) -> Path:
    """Where the tensors of a checkpoint lie; it need not exist."""
    return checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint


def save(sam: Sam, config: dict[str, Any], folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write `model.safetensors` and `config.json`; either both appear or neither."""
    with folders.staged(folder) as fresh:
        state = {name: tensor.detach().to(dtype).contiguous() for name, tensor in sam.state_dict().items()}
        save_file(state, fresh / WEIGHTS)
        (fresh / CONFIG).write_text(json.dumps(config, indent=1) + "\n")


def config_from_shapes(state: dict[str, Tensor]) -> dict[str, Any]:
    """Constructor numbers of a state dict with relative positions, as all official ones have.

    The attention window of a block is read from its table of relative positions, [2 w - 1, head width]. The
    decoder's number of attention heads is in no shape; every official model has 8. Source:
    segment_anything/build_sam.py.
    """
    patches = state["image_encoder.patch_embed.proj.weight"]  # [embed, 3, patch, patch]
    embed_dim, patch_size = patches.shape[0], patches.shape[-1]
    side = state["image_encoder.pos_embed"].shape[1]
    depth = _count(state, "image_encoder.blocks.")
    tables = [state[f"image_encoder.blocks.{block}.attn.rel_pos_h"].shape for block in range(depth)]
    windows = [(table[0] + 1) // 2 for table in tables]
    layers = "mask_decoder.transformer.layers."
    return {
        "image_encoder": {
            "img_size": side * patch_size,
            "patch_size": patch_size,
            "embed_dim": embed_dim,
            "depth": depth,
            "num_heads": embed_dim // tables[0][1],
            "mlp_ratio": state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / embed_dim,
            "out_chans": state["image_encoder.neck.0.weight"].shape[0],
            "use_rel_pos": True,
            "window_size": min(windows),
            "global_attn_indexes": [block for block, window in enumerate(windows) if window == side],
        },
        "prompt_encoder": {"mask_in_chans": state["prompt_encoder.mask_downscaling.3.weight"].shape[0]},
        "mask_decoder": {
            "num_multimask_outputs": state["mask_decoder.mask_tokens.weight"].shape[0] - 1,
            "transformer": {
                "depth": _count(state, layers),
                "mlp_dim": state[f"{layers}0.mlp.lin1.weight"].shape[0],
                "num_heads": 8,
            },
            "iou_head_depth": _count(state, "mask_decoder.iou_prediction_head.layers."),
            "iou_head_hidden_dim": state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
        },
        "pixel_mean": IMAGENET_MEAN,
        "pixel_std": IMAGENET_STD,
    }


def convert(pickled: Path, out: Path) -> None:
    """Turn an official .pth into .safetensors, tensors only; code in the pickle is refused, not run.

    Raises:
        UserError: the file is missing, holds more than tensors, or is no state dict of a Sam.
    """
    if not pickled.is_file():
        raise UserError(f"{pickled}: no such file")
    try:
        state = torch.load(pickled, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{pickled}: holds more than tensors and was not opened ({first})") from error
    if not isinstance(state, dict) or "image_encoder.patch_embed.proj.weight" not in state:
        raise UserError(f"{pickled}: not the state dict of a Sam")
    with folders.staged_file(out) as fresh:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, fresh)


def _count(state: dict[str, Tensor], prefix: str) -> int:
    """How many numbered modules lie under `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})
