"""Where base weights come from, and whether they are the ones that were asked for."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from diffusers import DiffusionPipeline
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from tasks.shared.errors import UserError
from tasks.shared.settings import Base

UNPINNED = "unpinned"
"""Revision that accepts any local weights; what they were stands in the identity all the same."""

FIGURES = "quality.json"
_KINDS = {".safetensors", ".json", ".txt", ".model"}
_PICKLED = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
_MIB = 2**20
_WHOLE_UP_TO = 64 * _MIB
_SDXL_KEY = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"


@dataclass(frozen=True)
class Weights:
    """Weights on this machine."""

    path: Path  # a diffusers folder or one .safetensors file in the original layout
    pipeline_class: str  # as model_index.json calls it
    name: str  # Hub id, or the name of the folder or file: never a path of this machine
    revision: str  # Hub commit, or digest of the local files


def digest_of(model: Path) -> str:
    """Digest of a local model, 32 hex digits: over the name, size and bytes of every weights and configuration file.

    What was measured about it (`quality.json`) is no part of it.

    Of a file over 64 MiB only the first and the last MiB are read, so that opening a large model costs no minute.
    """
    files = [model] if model.is_file() else sorted(path for path in model.rglob("*") if path.suffix in _KINDS)
    total = hashlib.sha256()
    for path in files:
        name = path.name if path == model else path.relative_to(model).as_posix()
        if any(part.startswith(".") for part in name.split("/")) or path.name == FIGURES:
            continue
        size = path.stat().st_size
        total.update(f"{name}\0{size}\0".encode())
        with open(path, "rb") as file:
            if size <= _WHOLE_UP_TO:
                total.update(file.read())
            else:
                total.update(file.read(_MIB))
                file.seek(size - _MIB)
                total.update(file.read(_MIB))
    return total.hexdigest()[:32]


def locate(base: Base) -> Weights:
    """Find, and for a Hub id download, the weights that `base` names.

    Raises:
        UserError: there are none, they are pickled, damaged, or not of the pinned revision.
    """
    path = Path(base.model)
    if path.suffix.lower() in _PICKLED:
        raise UserError(
            f"base.model: {path.name}: pickled weights can run code when opened; "
            "use a diffusers folder or a .safetensors file"
        )
    if path.is_dir() or path.is_file():
        pipeline_class = _class_of_folder(path) if path.is_dir() else _class_of_file(path)
        return Weights(path, pipeline_class, path.name, _pinned(path, base.revision))
    hub_id = (
        base.model.count("/") == 1 and not base.model.startswith((".", "/")) and path.suffix != ".safetensors"
    )
    if not hub_id or path.parent.is_dir():
        raise UserError(
            f"base.model: {base.model}: no such folder or file, and no Hub id (owner/name); "
            "`dvc pull` brings what is versioned"
        )
    return _from_hub(base)


def _pinned(path: Path, revision: str) -> str:
    found = digest_of(path)
    if revision not in (found, UNPINNED):
        raise UserError(
            f"base.revision: {path.name} is not the pinned model: pinned {revision!r}, found {found!r}; restore the "
            f"weights, or write `revision: {found}` under `base:` in params.yaml"
        )
    return found


def _class_of_folder(folder: Path) -> str:
    index = folder / "model_index.json"
    try:
        name = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{index}: missing or damaged; base.model must be a diffusers folder ({error})"
        ) from error
    weights = [path for path in folder.rglob("*") if path.suffix in _PICKLED | {".safetensors"}]
    if weights and not any(path.suffix == ".safetensors" for path in weights):
        raise UserError(
            f"base.model: {folder.name} holds pickled weights only ({weights[0].name}), which can run code when "
            "opened; save it again with safe_serialization=True"
        )
    return str(name)


def _class_of_file(path: Path) -> str:
    try:
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
    except (SafetensorError, OSError) as error:
        raise UserError(f"base.model: {path.name}: no readable .safetensors file ({error})") from error
    return "StableDiffusionXLPipeline" if _SDXL_KEY in keys else "StableDiffusionPipeline"


def _from_hub(base: Base) -> Weights:
    logging.getLogger(__name__).info("base: fetching %s (%s) unless it is cached", base.model, base.revision)
    revision = None if base.revision == UNPINNED else base.revision
    try:
        index = DiffusionPipeline.load_config(base.model, revision=revision)
        folder = Path(DiffusionPipeline.download(base.model, revision=revision, use_safetensors=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"base.model: {base.model}: neither a local folder nor to be had from the Hub ({reason}); go online once, "
            "or give the path of a diffusers folder or .safetensors file"
        ) from error
    return Weights(folder, str(index["_class_name"]), base.model, folder.name)
