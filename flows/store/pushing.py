"""`python -m flows.store.pushing TARGET ...`: `dvc push` beside a run, not instead of one.

DVC holds the project's lock while it pushes, so the next subject's first question would wait for the network. What is
pushed is finished: its dvc.lock is written whole before anybody asks for it, and the cache only grows. So no lock is held
here. A process of its own, so that it can be ended.

Every upload to S3 carries its MD5: the server refuses what arrived otherwise (RFC 1864). The checksum that botocore sends by
itself is a newer one (CRC32), which servers other than Amazon's often pass over.
"""

import argparse
import base64
import functools
import hashlib
import logging
import sys
from contextlib import nullcontext
from typing import Any


def main() -> None:
    """Push, and print how much; or what is wrong, and exit with 1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--remote")
    told = parser.parse_args()
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo(".") as repo:
            repo.lock = nullcontext()
            if any(remote["url"].startswith("s3:") for remote in repo.config["remote"].values()):
                _send_digests()
            pushed = repo.push(targets=told.targets, remote=told.remote)
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)
    print(f"{pushed} files pushed" if pushed else "Everything is up to date.")


def _send_digests() -> None:
    """From here on in this process, s3fs says the MD5 of what it uploads; it has no option for it."""
    from s3fs import S3FileSystem

    call_s3 = S3FileSystem._call_s3

    @functools.wraps(call_s3)
    async def with_digest(self: Any, method: str, *arguments: Any, **told: Any) -> Any:
        if isinstance(body := told.get("Body"), bytes):
            told["ContentMD5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        return await call_s3(self, method, *arguments, **told)

    S3FileSystem._call_s3 = with_digest


if __name__ == "__main__":
    main()
