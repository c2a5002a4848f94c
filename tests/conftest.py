"""Shared fixtures: tiny random base models in the formats of the real ones, and a temporary project."""

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

import flows  # noqa: F401 - first, or pytest takes tests/flows for it, and an installed tree for the rest
from tasks.shared import images, manifest

REPO = Path(__file__).resolve().parent.parent
KINDS = ("sd15", "sd21v", "sdxl")
WORDS = ["a", "photo", "of", "sks", "dog", "vase", "the", "in", "on", "beach", "red", "car", "xyz"]
BOS, EOS = "<|startoftext|>", "<|endoftext|>"

torch.set_num_threads(1)  # at these sizes a second thread costs more than it brings
os.environ["OMP_NUM_THREADS"] = "1"  # in the processes that tests start as well


def tiny_tokenizer() -> Any:
    """A real CLIP tokenizer that knows `WORDS` and spells everything else out."""
    from transformers import CLIPTokenizer

    letters = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789,.'-_"))
    pieces, merges = [*letters, *(f"{letter}</w>" for letter in letters)], []
    for word in (word for word in WORDS if len(word) > 1):
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        while len(symbols) > 1:
            merge = (symbols[0], symbols[1])
            symbols = ["".join(merge), *symbols[2:]]
            if f"{merge[0]} {merge[1]}" not in merges:
                merges.append(f"{merge[0]} {merge[1]}")
                pieces.append(symbols[0])
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys([*pieces, BOS, EOS]))}
    return CLIPTokenizer(vocab=vocab, merges=[tuple(m.split()) for m in merges], model_max_length=16)


def write_base(kind: str, folder: Path, seed: int = 0) -> Path:
    """Write a random small diffusers folder of one kind: 32 px pictures, 4 x 16 x 16 latents, well under 1 MB."""
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    sdxl = kind == "sdxl"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        text = CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, projection_dim=16, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=16, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        unet = UNet2DConditionModel(
            sample_size=16, in_channels=4, out_channels=4, block_out_channels=(16, 32), layers_per_block=1,
            norm_num_groups=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32 if sdxl else 16,
            attention_head_dim=(2, 4) if sdxl or kind == "sd21v" else 8, use_linear_projection=kind != "sd15",
            **({"addition_embed_type": "text_time", "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 8 * 6 + 16} if sdxl else {}),
        )  # fmt: skip
        vae = AutoencoderKL(
            sample_size=32, block_out_channels=(8, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            scaling_factor=0.18215,
        )  # fmt: skip
        scheduler = DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1,
            set_alpha_to_one=False, prediction_type="v_prediction" if kind == "sd21v" else "epsilon",
        )  # fmt: skip
        parts = {"vae": vae, "tokenizer": tokenizer, "unet": unet, "scheduler": scheduler}
        if sdxl:
            encoders = {
                "text_encoder": CLIPTextModel(text),
                "text_encoder_2": CLIPTextModelWithProjection(text),
            }
            pipeline = StableDiffusionXLPipeline(
                **parts, **encoders, tokenizer_2=tokenizer, add_watermarker=False
            )
        else:
            pipeline = StableDiffusionPipeline(
                **parts, text_encoder=CLIPTextModel(text), safety_checker=None, feature_extractor=None,
                requires_safety_checker=False,
            )  # fmt: skip
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_base("sd15")` -> diffusers folder; kinds: sd15 (epsilon), sd21v (v-prediction), sdxl. Do not write into it."""
    root, made = tmp_path_factory.mktemp("bases"), {}

    def make(kind: str = "sd15") -> Path:
        if kind not in made:
            made[kind] = write_base(kind, root / kind, seed=KINDS.index(kind))
        return made[kind]

    return make


SMALL: dict[str, dict[str, Any]] = {
    "fine_tune": {
        "max_train_steps": 2,
        "train_batch_size": 2,
        "validation_steps": 0,
        "validation_judge": None,
    },
    "machine": {"checkpoint_steps": 0},
    "segment": {"size_px": 32},
    "class_prior": {
        "num_class_images": 2,
        "batch_size": 2,
        "judge": None,
        "num_inference_steps": 2,
        "size_px": 32,
    },
    "sample": {"num_inference_steps": 2, "size_px": 32, "batch_size": 4, "num_class_images": 2},
}
"""Sizes for tests; a key counts only if params.yaml has it."""


@pytest.fixture
def project(tmp_path: Path, tiny_base: Callable[[str], Path]) -> Path:
    """A temporary project: the repository's params.yaml with the tiny sd15 base and small sizes, and an empty data folder."""
    folder = tmp_path / "project"
    (folder / "data" / "subjects").mkdir(parents=True)
    shutil.copytree(tiny_base("sd15"), folder / "data" / "base")
    yaml = YAML()
    tree = yaml.load(REPO / "params.yaml")
    tree["base"].update({"model": "data/base", "revision": "unpinned"})
    for section, small in SMALL.items():
        if section in tree:
            tree[section].update({key: value for key, value in small.items() if key in tree[section]})
    yaml.dump(tree, folder / "params.yaml")
    return folder


@pytest.fixture
def set_params(project: Path) -> Callable[[Mapping[str, Mapping[str, Any]]], Path]:
    """Change sections of the temporary project's params.yaml: `set_params({"fine_tune": {"seed": 3}})`."""

    def change(sections: Mapping[str, Mapping[str, Any]]) -> Path:
        yaml, path = YAML(), project / "params.yaml"
        tree = yaml.load(path)
        for section, values in sections.items():
            tree.setdefault(section, {}).update(json.loads(json.dumps(values)))
        yaml.dump(tree, path)
        return path

    return change


@pytest.fixture
def subject(project: Path) -> Path:
    """A subject's folder with subject.yaml, a finished segment (3 crops of 32 px) and, as a stand-in, its class prior."""
    rng = np.random.default_rng(0)
    folder = project / "data" / "subjects" / "rex"
    folder.mkdir()
    (folder / "subject.yaml").write_text("name: rex\nclass: dog\nclass_folder: dog\nidentifier: sks\n")
    masks = np.zeros((3, 32, 32), bool)
    masks[:, 8:24, 8:24] = True
    for number in range(3):
        images.save(folder / "segment" / "images" / f"{number:02d}.png", _noise(rng))
        images.save(folder / "segment" / "masks" / f"{number:02d}.png", masks[number])
    manifest.write(folder / "segment", "segment", 1)
    prior = project / "data" / "class_prior" / "dog" / "images"
    for number in range(4):
        images.save(prior / f"{number:04d}.png", _noise(rng))
    manifest.write(prior, "class_prior", 1, **{"class": "dog", "prompt": "a dog"})
    return folder


@pytest.fixture(scope="session")
def api_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's folder for `api`; its empty.db has the tables and no rows."""
    return tmp_path_factory.mktemp("api") / ".dreamline" / "prefect"


@pytest.fixture(scope="session")
def api(api_home: Path) -> Iterator[str]:
    """One Prefect API for the session, as if the user had set PREFECT_API_URL; one start costs twenty seconds."""
    from flows import prefect_api
    from flows.workspace import Workspace

    with pytest.MonkeyPatch.context() as environment, contextlib.ExitStack() as server:
        environment.delenv("PREFECT_API_URL", raising=False)
        wait = server.enter_context(prefect_api.connection(Workspace(api_home.parent.parent)))
        url = wait()
        with (
            contextlib.closing(sqlite3.connect(api_home / "prefect.db")) as live,
            contextlib.closing(sqlite3.connect(api_home / "empty.db")) as copy,
        ):
            live.backup(copy)
        environment.setenv("PREFECT_API_URL", url)
        yield url


def _noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)


def write_judges(folder: Path, seed: int = 7) -> Path:
    """Write random small judges for 32 px pictures: `identity` (a ViT) and `clip` (a CLIPModel with tokenizer)."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, ViTConfig, ViTImageProcessor, ViTModel

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    eyes = {"image_size": 32, "patch_size": 8}
    tokenizer = tiny_tokenizer()
    text = small | {
        "vocab_size": len(tokenizer), "max_position_embeddings": 16, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        identity = ViTModel(ViTConfig(**small, **eyes))
        clip = CLIPModel(CLIPConfig(text_config=text, vision_config=small | eyes, projection_dim=12))
    identity.save_pretrained(folder / "identity")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "identity")
    clip.save_pretrained(folder / "clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    return folder


@pytest.fixture(scope="session")
def tiny_judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the random judges `identity` and `clip`. Do not write into it."""
    return write_judges(tmp_path_factory.mktemp("judges"))
