"""The base that a stage has just used, kept for the next stage of the same process.

Whoever takes a base owns it. A stage that leaves it as it was gives it back; one that changes its weights does
not. At most one waits.
"""

import threading

from tasks.backbones import _weights
from tasks.backbones.base import Backbone, open_base
from tasks.shared.settings import Base

_lock = threading.Lock()
_waiting: list[tuple[tuple[str, str, str], Backbone]] = []  # model, revision, dtype


def take(base: Base) -> Backbone:
    """The base that waits, if it is this one with the same weights on disk; else a newly opened one.

    Raises:
        UserError: as `open_base`.
    """
    with _lock:
        waiting = _waiting.pop() if _waiting else None
    if waiting and waiting[0] == (base.model, _weights.locate(base).revision, base.dtype):
        return waiting[1]
    del waiting  # its memory, before the next one is opened
    return open_base(base)


def give_back(base: Base, backbone: Backbone) -> None:
    """Let `backbone`, taken as `base` and unchanged, wait for the next stage."""
    if not _changed(backbone):
        with _lock:
            _waiting[:] = [((base.model, backbone.identity["revision"], base.dtype), backbone)]


def _changed(backbone: Backbone) -> bool:
    """Something still trains or an adapter is still in place."""
    adapted = any(
        "lora_" in name for module in backbone.modules.values() for name, _ in module.named_parameters()
    )
    training = any(module.training for module in backbone.modules.values())
    return adapted or training or any(p.requires_grad for p in backbone.parameters())


def forget() -> None:
    """Let go of the base that waits: its memory is wanted."""
    with _lock:
        _waiting.clear()
