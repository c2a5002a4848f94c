"""The models that look at pictures: transformers folders or Hub ids, opened by name, none treated specially.

Each distinct picture passes a judge once; metrics may ask again at no cost.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from tasks.shared import manifest, memory
from tasks.shared.errors import UserError


@dataclass(frozen=True)
class Judges:
    """The two judges that the field's scores are made of."""

    dino: "ImageJudge"
    clip: "TextJudge"


class ImageJudge:
    """An image encoder whose first token describes the picture, such as facebook/dino-vits16."""

    def __init__(self, source: str, revision: str = "main", project: Path = Path(), batch: int = 32):
        """Load the judge.

        Args:
            source: folder (relative to `project`) or Hub id with safetensors and preprocessor_config.json.
            revision: Hub revision; for a folder "main" or the SHA-256 of its model.safetensors, which is
                checked.
            batch: pictures per forward pass
        Raises:
            UserError: there is no such model, it is of the wrong kind, or it has another digest.
        """
        self.source, self.batch = source, batch
        self.digest = _digest(project / source, source, revision)
        self._place = str(project / source) if (project / source).is_dir() else source
        self._options: dict[str, Any] = {"trust_remote_code": False} | (
            {} if self.digest else {"revision": revision}
        )
        self.processor = self._open(AutoImageProcessor)
        model = self._open(AutoModel, use_safetensors=True, dtype=torch.float32).eval().requires_grad_(False)
        self.model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        self._seen: dict[str, np.ndarray] = {}

    def _open(self, kind, **options):
        level, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
        transformers_logging.set_verbosity_error()  # an unused pooler is no news
        transformers_logging.disable_progress_bar()
        try:
            with torch.random.fork_rng(
                devices=[]
            ):  # parts that the checkpoint lacks would move the global generator
                return kind.from_pretrained(self._place, **self._options, **options)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            reason = (str(error).strip() or "no reason given").splitlines()[0][:200]
            raise UserError(
                f"judge {self.source!r}: cannot be opened by {kind.__name__} ({reason}); check name and files"
            ) from error
        finally:
            transformers_logging.set_verbosity(level)
            if bar:
                transformers_logging.enable_progress_bar()

    @property
    def identity(self) -> dict[str, str | None]:
        """Name and revision or digest, for manifests; no path of this machine."""
        return {"model": self.source, "revision": self.digest or self._options.get("revision")}

    def embed(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Describe pictures, each HWC uint8 of any size. [n d] float32, unit rows"""
        keys = [
            hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
            for picture in pictures
        ]
        fresh = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self._seen}
        names = list(fresh)
        for start in range(0, len(names), self.batch):
            part = names[start : start + self.batch]
            # One at a time through the processor: pictures may differ in size.
            pixels = torch.cat(
                [self.processor(np.array(fresh[key]), return_tensors="pt")["pixel_values"] for key in part]
            )
            rows = [row for rows in memory.in_halves(self._rows, list(pixels)) for row in rows]
            self._seen.update(zip(part, rows, strict=True))
        return np.stack([self._seen[key] for key in keys]) if keys else np.zeros((0, 1), np.float32)

    def _rows(self, pictures: Sequence[Tensor]) -> np.ndarray:
        pixels = torch.stack(list(pictures))
        with torch.inference_mode():
            return _unit(self._image_features(pixels.to(self.model.device, torch.float32)))

    def _image_features(self, pixels: Tensor) -> Tensor:  # [b 3 h w] -> [b d]
        return self.model(pixel_values=pixels).last_hidden_state[:, 0]


class TextJudge(ImageJudge):
    """An image and a text encoder with one space, such as openai/clip-vit-base-patch32."""

    def __init__(self, source: str, revision: str = "main", project: Path = Path(), batch: int = 32):
        super().__init__(source, revision, project, batch)
        if not hasattr(self.model, "get_text_features"):
            raise UserError(f"judge {source!r}: it is a {type(self.model).__name__}; a CLIPModel is needed")
        self.tokenizer = self._open(AutoTokenizer)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Describe sentences; what exceeds the context is cut off. [n d] float32, unit rows"""
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=longest, return_tensors="pt"
        )
        with torch.inference_mode():
            return _unit(
                _tensor(
                    self.model.get_text_features(
                        input_ids=tokens["input_ids"].to(self.model.device),
                        attention_mask=tokens["attention_mask"].to(self.model.device),
                    )
                )
            )

    def _image_features(self, pixels: Tensor) -> Tensor:
        return _tensor(self.model.get_image_features(pixel_values=pixels))


def _tensor(features) -> Tensor:
    """transformers 5 wraps features in an output object, 4 gave the tensor."""
    return features if isinstance(features, Tensor) else features.pooler_output


def _unit(features: Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()


def _digest(folder: Path, source: str, revision: str) -> str | None:
    """SHA-256 of a local judge's weights, None for a Hub id."""
    if not folder.is_dir():
        return None
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"judge {source!r}: it has no model.safetensors; pickled weights are not opened")
    found = manifest.digest(weights)
    if revision not in ("main", found):
        raise UserError(f"judge {source!r}: its digest is {found}, params.yaml asks for {revision}")
    return found
