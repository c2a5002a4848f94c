"""Looks for new subjects: `python -m flows.serving.watcher <project>`, as `dreamline serve` starts it.

What it has seen lies in the inbox until it is done, so it may be killed at any moment.
"""

import logging
import os
import sys
import threading
from pathlib import Path

from flows import deployments, prefect_api
from flows import nightly as every_night
from flows.serving import lifeline
from flows.workspace import Workspace
from tasks.shared import params


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
    options = params.validate(every_night.Params, workspace.section("nightly"), "params.yaml: nightly")
    deployments.watch(workspace, options, stop)


if __name__ == "__main__":
    main()
