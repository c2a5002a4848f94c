"""What a stage is told by a params file that has not changed is read once, not for every subject.

DVC parses params.yaml for every stage that it looks at, and walks all of it for each key: in a project of real size a
third of what asking about a subject cost.
"""

import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SETTLED_S = 0.1
"""A file that was written less than this ago may be written again with the same time and size, and is read anew."""


@functools.cache
def install() -> None:
    """From here on DVC's dependencies on params read through this file."""
    from dvc.dependency import param

    param.read_param_file = _once(param.read_param_file)


def _once(read: Callable[..., Any]) -> Callable[..., Any]:
    from dvc.fs import LocalFileSystem

    @functools.lru_cache(maxsize=256)
    def of_version(
        fs: Any, path: str, keys: tuple[str, ...] | None, flatten: bool, *_version: int
    ) -> dict[str, Any]:
        return read(fs, path, keys, flatten)

    def again(
        fs: Any, path: str, key_paths: Iterable[str] | None = None, flatten: bool = False, **how: Any
    ) -> Any:
        keys = None if key_paths is None else tuple(key_paths)
        if isinstance(fs, LocalFileSystem) and not how:
            found = Path(path).stat()
            if time.time() - found.st_mtime >= SETTLED_S:
                # a mapping of the caller's own; nobody changes the values
                return dict(
                    of_version(fs, path, keys, flatten, found.st_mtime_ns, found.st_size, found.st_ino)
                )
        return read(fs, path, keys, flatten, **how)

    return again
