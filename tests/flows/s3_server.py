"""A real S3 server (rclone's) over a folder, that can be killed and started again at the same port."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

RCLONE = Path(sys.executable).parent / "rclone"
KEYS = {
    "AWS_ACCESS_KEY_ID": "user",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Environment of its clients."""


def command(folder: Path, address: str) -> list[str]:
    """Serves a folder, whose subfolders are buckets."""
    return [str(RCLONE), "serve", "s3", str(folder), "--addr", address, "--auth-key", "user,secret"]


class S3Server:
    """Serves `folder` with the bucket `dreamline`, started when it is made."""

    def __init__(self, folder: Path):
        (folder / "dreamline").mkdir(parents=True)
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def number(self) -> int | None:
        """Process number; None while it is dead."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def start(self) -> None:
        """And wait until it answers."""
        self.process = subprocess.Popen(
            command(self.folder, f"127.0.0.1:{self.port}"),
            stderr=subprocess.DEVNULL,
            env=os.environ | {"RCLONE_CONFIG": str(self.folder / "rclone.conf")},
        )
        while self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise RuntimeError("the S3 server did not start")

    def kill(self) -> None:
        """kill -9."""
        if self.process:
            self.process.kill()
            self.process.wait()


def use(root: Path, url: str, folder: str = "store") -> None:
    """What a user types to make a folder of the bucket a project's remote: the address, nothing secret."""
    (root / ".dvc" / "config.local").write_text(
        "[core]\n    remote = s3\n['remote \"s3\"']\n"
        f"    url = s3://dreamline/{folder}\n    endpointurl = {url}\n"
    )
