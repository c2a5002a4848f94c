"""What a stage is told by a params file that has not changed is read once, not for every subject.

DVC parses params.yaml for every stage that it looks at, and walks all of it for each key: in a project of real size a
third of what asking about a subject cost.
"""

import functools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SETTLED_S = 0.1
"""A file that was written less than this ago may be written again with the same time and size, and is read anew."""


def install() -> None:
    """From here on DVC's dependencies on params read through this file."""
    from dvc.dependency import param

    if param.read_param_file is not _read:
        _read_by_dvc.append(param.read_param_file)
        param.read_param_file = _read


_read_by_dvc: list[Any] = []


def _read(
    fs: Any, path: str, key_paths: Iterable[str] | None = None, flatten: bool = False, **how: Any
) -> Any:
    from dvc.fs import LocalFileSystem

    keys = None if key_paths is None else tuple(key_paths)
    if isinstance(fs, LocalFileSystem) and not how:
        found = Path(path).stat()
        if time.time() - found.st_mtime >= SETTLED_S:
            return dict(_of_version(fs, path, keys, flatten, found.st_mtime_ns, found.st_size, found.st_ino))
    return _read_by_dvc[0](fs, path, keys, flatten, **how)


@functools.lru_cache(maxsize=256)
def _of_version(
    fs: Any, path: str, keys: tuple[str, ...] | None, flatten: bool, *_version: int
) -> dict[str, Any]:
    """Values by key; their owner copies the mapping, and nobody changes the values."""
    return _read_by_dvc[0](fs, path, keys, flatten)
