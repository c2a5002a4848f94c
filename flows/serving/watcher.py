"""Looks for new subjects: `python -m flows.serving.watcher <project>`, as `dreamline serve` starts it.

What it has seen lies in the inbox until it is done, so it may be killed at any moment.
"""

import logging
import os
import sys
import threading
from pathlib import Path

from flows import intake, prefect_api
from flows.intake import webhook
from flows.serving import lifeline
from flows.workspace import Workspace
from tasks.shared.errors import UserError

log = logging.getLogger(__name__)


def main() -> None:
    """Look until standard input closes or SIGTERM."""
    lifeline.hold()
    workspace = Workspace(Path(sys.argv[1]))
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    os.chdir(workspace.root)
    url = os.environ["PREFECT_API_URL"]
    stop = threading.Event()
    while not prefect_api.healthy(url) and not stop.wait(0.2):
        pass
    threading.Thread(target=_listen, args=(workspace, stop), name="webhook", daemon=True).start()
    intake.watch(workspace, stop)


def _listen(workspace: Workspace, stop: threading.Event) -> None:
    """The webhook; the inbox goes on where it cannot be had."""
    try:
        webhook.run(workspace, stop)
    except UserError as error:
        log.error("webhook: %s", error)


if __name__ == "__main__":
    main()
