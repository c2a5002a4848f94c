"""Read photos out of a zip that may be hostile. Nothing is unpacked to the disk: no name leads astray."""

import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tasks.photos import names
from tasks.photos.decode import Unreadable
from tasks.shared.errors import UserError

MOST_PACKED = 100  # times that a file may shrink; photos hardly shrink at all, a bomb 1,000 times
FREE_BYTES = 1_000_000  # below this a strongly packed file does no harm
MOST_DIRECTORY_BYTES = 4_000_000  # of the table of contents, some 40,000 names


def is_archive(path: Path) -> bool:
    """True for a zip by its first bytes; a photo with a zip hidden behind it is a photo."""
    with open(path, "rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


@contextmanager
def opened(
    path: Path, max_file_bytes: int, max_total_bytes: int
) -> Iterator[list[tuple[str, Callable[[], bytes]]]]:
    """Names and readers of the files in a zip; hidden files and folders are left out.

    Args:
        max_total_bytes: of all files together, unpacked.
    Raises:
        UserError: it is no readable zip.
    """
    with _open(path) as package:
        reader = _Reader(package, max_file_bytes, max_total_bytes)
        files = [info for info in package.infolist() if not info.filename.endswith("/")]
        wanted = [info for info in files if not names.is_hidden(info.filename)]
        yield [(info.filename, partial(reader.read, info)) for info in wanted]


def _open(path: Path) -> zipfile.ZipFile:
    try:
        if _directory_bytes(path) <= MOST_DIRECTORY_BYTES:
            return zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # zipfile raises half a dozen types on damaged tables of contents
        raise UserError(f"{path}: a damaged zip ({error}); make it again") from error
    raise UserError(f"{path}: its table of contents is too large for an archive of one subject's photos")


class _Reader:
    """Reads files of one archive and counts what came out in all."""

    def __init__(self, package: zipfile.ZipFile, max_file_bytes: int, max_total_bytes: int):
        self.package, self.max_file_bytes = package, max_file_bytes
        self.max_total_bytes = self.left_bytes = max_total_bytes

    def read(self, info: zipfile.ZipInfo) -> bytes:
        self._check(info)
        try:
            with self.package.open(info) as file:
                data = file.read(min(self.max_file_bytes, self.left_bytes) + 1)
        except Exception as error:  # as many types again, from zipfile and each of its decompressors
            raise Unreadable(
                "damaged in the archive, or packed in a way we do not read; make the zip again"
            ) from error
        self.left_bytes -= len(data)
        if self.left_bytes < 0:
            self.left_bytes = 0
            raise Unreadable(_too_much(self.max_total_bytes))
        if len(data) > self.max_file_bytes:
            raise Unreadable(too_many_bytes(len(data), self.max_file_bytes))
        return data

    def _check(self, info: zipfile.ZipInfo) -> None:
        """Refuse by what the table of contents says, before anything is unpacked."""
        above = (
            ".." in names.parts(info.filename)
            or info.filename.startswith(("/", "\\"))
            or info.filename[1:2] == ":"
        )
        if above:
            raise Unreadable("its name leads out of the archive, as in an attack; pack it without a path")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise Unreadable("a link, not a file; pack the photo itself")
        if info.flag_bits & 1:
            raise Unreadable("locked with a password; pack it without one")
        if info.file_size > self.max_file_bytes:
            raise Unreadable(too_many_bytes(info.file_size, self.max_file_bytes))
        if info.file_size > self.left_bytes:
            raise Unreadable(_too_much(self.max_total_bytes))
        if info.file_size > max(FREE_BYTES, MOST_PACKED * info.compress_size):
            raise Unreadable(
                f"packed {MOST_PACKED} times smaller, as a decompression bomb is; pack the photo itself"
            )


def too_many_bytes(size_bytes: int, max_bytes: int) -> str:
    """The reason for a file that is too large."""
    return f"too large a file: {size_bytes / 1e6:,.0f} MB, ingest.max_file_mb is {max_bytes / 1e6:g}"


def _too_much(max_bytes: int) -> str:
    return f"the archive unpacks to more than {max_bytes / 1e6:g} MB (ingest.max_archive_mb)"


def _directory_bytes(path: Path) -> int:
    """Size of the table of contents as the end record states it; `ZipFile` reads all of it at once.

    Source: PKWARE APPNOTE 6.3.10, 4.3.14 to 4.3.16.
    """
    longest = 65_557 + 20  # an end record with its comment, and the zip64 locator before it
    with open(path, "rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - longest))
        tail = file.read()
        end = tail.rfind(b"PK\x05\x06")
        if end < 0:
            raise zipfile.BadZipFile("it has no table of contents")
        stated = struct.unpack_from("<I", tail, end + 12)[0]
        if tail[max(0, end - 20) :].startswith(b"PK\x06\x07"):
            file.seek(struct.unpack_from("<Q", tail, end - 20 + 8)[0])
            stated = max(stated if stated < 0xFFFFFFFF else 0, struct.unpack_from("<Q", file.read(56), 40)[0])
    return stated
