"""Objects under s3://bucket/inbox/<subject>/ as drops: copied when complete, left where they are."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.intake import drops
from flows.intake.options import Params
from flows.intake.order import Rejected
from flows.intake.settling import Settling, is_temporary, photos_in
from flows.workspace import Workspace
from tasks.photos import names
from tasks.shared.errors import UserError
from tasks.shared.folders import staged_file

log = logging.getLogger(__name__)

MOST_OBJECTS = 100_000
"""Under the prefix; each look lists them all."""
ATTEMPTS = 4  # at a request, before the look is given up
DEEPEST, LONGEST = 8, 200  # folders below a drop; bytes of a part of a key


@dataclass(frozen=True)
class Object:
    """One object as the listing shows it."""

    key: str
    name: str  # within the drop
    size_bytes: int
    etag: str
    modified: datetime


class Gone(Exception):
    """An object is no longer what the listing said; the next look sees what it is now."""


@dataclass
class Bucket:
    """The watched prefix. `.dreamline/bucket.json` notes what was copied; without it, it is copied again and found to
    be the same bytes."""

    workspace: Workspace
    options: Params
    client: Any = None
    settling: Settling = field(default_factory=Settling)

    @property
    def _seen_file(self) -> Path:
        return self.workspace.state / "bucket.json"

    def look(self) -> None:
        """Copy every drop that is complete and was not copied yet.

        Raises:
            botocore's errors, while the storage does not answer.
        """
        self.client = self.client or _client()
        try:
            self._look()
        except Exception:
            self.client = None  # the next look asks for the keys anew: they may have been replaced
            raise

    def _look(self) -> None:
        bucket, _, prefix = (self.options.bucket or "").removeprefix("s3://").partition("/")
        prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        groups, marked = self._grouped(bucket, prefix)
        copied = self._copied()
        for drop, objects in groups.items():
            signature = _signature(objects)
            settled = self.settling.settled(drop, signature, self.options.settle_s)
            whole = _is_marked(objects, marked.get(drop)) or (settled and _is_whole(objects))
            if not whole or _tags(objects).items() <= copied.get(drop, {}).items():
                continue  # objects that were taken away, one by one perhaps, make no new version
            try:
                self._copy(bucket, drop, objects)
            except Gone:
                continue
            self._note({**copied, drop: _tags(objects)}, set(groups))
            copied = self._copied()

    def _grouped(self, bucket: str, prefix: str) -> tuple[dict[str, list[Object]], dict[str, datetime]]:
        """The objects of each drop, and when its marker was put there."""
        groups: dict[str, list[Object]] = {}
        marked: dict[str, datetime] = {}
        for item in self._listed(bucket, prefix):
            drop, _, name = item["Key"][len(prefix) :].partition("/")
            if not name and drop.endswith(".ready"):
                marked[drop.removesuffix(".ready")] = item["LastModified"]
            elif drop in drops.RESERVED or (not name and not drop.lower().endswith(".zip")):
                continue  # a loose object, or a folder's placeholder
            elif name.endswith("/") and not item["Size"]:
                continue
            elif not is_temporary(drop):
                found = Object(item["Key"], name, item["Size"], item["ETag"], item["LastModified"])
                groups.setdefault(drop, []).append(found)
        return groups, marked

    def _listed(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        count = 0
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                count += 1
                if count > MOST_OBJECTS:
                    raise UserError(
                        f"inbox.bucket: more than {MOST_OBJECTS:,} objects under {prefix!r}; move away those "
                        "that were taken in"
                    )
                yield item

    def _copy(self, bucket: str, drop: str, objects: list[Object]) -> None:
        staged = drops.new_folder(self.workspace, "staging")
        try:
            try:
                self._check(drop, objects)
            except Rejected as reason:
                log.warning("bucket: %s: %s", names.shown(drop), reason)
                drops.reject(self.workspace, staged, _file_name(drop), f"{self.options.bucket}: {reason}")
                return
            log.info("bucket: copying %s, %d objects", drop, len(objects))
            for each in objects:
                self._download(bucket, each, staged / drop / each.name if each.name else staged / drop)
            drops.hand_over(self.workspace, staged)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def _check(self, drop: str, objects: list[Object]) -> None:
        """Refuse by the listing, before a byte is copied."""
        if len(objects) > self.options.max_files:
            raise Rejected(f"more than {self.options.max_files} objects (inbox.max_files)")
        total_mb = sum(each.size_bytes for each in objects) / 1e6
        if total_mb > self.options.max_mb:
            raise Rejected(f"{total_mb:,.0f} MB are more than inbox.max_mb, {self.options.max_mb:g}")
        files = {each.name for each in objects}
        for each in objects:
            parts = [drop, *each.name.split("/")] if each.name else [drop]
            if len(parts) > DEEPEST or any(not _is_plain(part) for part in parts):
                raise Rejected(
                    f"{names.shown(each.key)}: a key that is no plain file name; rename the object"
                )
            if any("/".join(parts[1:depth]) in files for depth in range(2, len(parts))):
                raise Rejected(f"{names.shown(each.key)}: lies in a folder that is an object too; rename one")

    def _download(self, bucket: str, each: Object, path: Path) -> None:
        """Copy one object, and no byte more than the listing promised.

        Raises:
            Gone: it has changed since.
        """
        from botocore.exceptions import ClientError

        path.parent.mkdir(parents=True, exist_ok=True)
        left = each.size_bytes
        try:
            answer = self.client.get_object(Bucket=bucket, Key=each.key, IfMatch=each.etag)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412", "NoSuchKey", "404"):
                raise Gone from error
            raise
        with open(path, "xb") as file:
            for chunk in answer["Body"].iter_chunks(1 << 20):
                left -= len(chunk)
                if left < 0:
                    raise Gone
                file.write(chunk)
        if left:
            raise Gone

    def _copied(self) -> dict[str, dict[str, str]]:
        """Of every drop, the objects that were copied last and their ETags."""
        try:
            return dict(json.loads(self._seen_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def _note(self, copied: dict[str, dict[str, str]], present: set[str]) -> None:
        kept = {drop: tags for drop, tags in copied.items() if drop in present}
        with staged_file(self._seen_file) as fresh:
            fresh.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _client() -> Any:
    """Keys, region and endpoint (AWS_ENDPOINT_URL) as boto3 finds them."""
    import boto3
    from botocore.config import Config

    patience = Config(
        connect_timeout=10, read_timeout=60, retries={"max_attempts": ATTEMPTS, "mode": "standard"}
    )
    # boto3's default session keeps the first keys for as long as the process lives: rotated ones would be refused
    return boto3.session.Session().client("s3", config=patience)


def _signature(objects: list[Object]) -> str:
    lines = sorted(f"{each.name}\0{each.size_bytes}\0{each.etag}" for each in objects)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _tags(objects: list[Object]) -> dict[str, str]:
    return {each.name: each.etag for each in objects}


def _is_marked(objects: list[Object], marked: datetime | None) -> bool:
    """A marker that is older than an object is an earlier upload's."""
    return marked is not None and all(each.modified <= marked for each in objects)


def _is_whole(objects: list[Object]) -> bool:
    """Whether there are photos, and no name says that its object is not whole yet."""
    inside = [each.name or each.key for each in objects]
    parts = [part for each in objects for part in each.name.split("/") if part]
    return bool(photos_in(inside)) and not any(is_temporary(part) for part in parts)


def _is_plain(part: str) -> bool:
    """Whether a part of a key is a file name everywhere."""
    return (
        part not in ("", ".", "..")
        and part.isprintable()
        and "\\" not in part
        and len(part.encode("utf-8", "replace")) <= LONGEST
    )


def _file_name(drop: str) -> str:
    """A name for the folder in rejected/ of a drop whose own name may be a trick."""
    return names.shown(drop).replace("/", "_").lstrip(".") or "unnamed"
