"""Safetensors files whose bytes depend on their content only."""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and metadata; equal content gives equal bytes.

    The library itself writes metadata in an order that changes from process to process, so the header is written again, sorted.
    """
    content = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {"format": "pt", **(metadata or {})}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(content)[8 + length :])


def metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty if it has none."""
    with safetensors.safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})
