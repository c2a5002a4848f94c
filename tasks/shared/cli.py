"""`python -m tasks.<stage>`: the command that DVC runs, flags derived from the function's signature."""

import argparse
import inspect
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.shared import settings
from tasks.shared.errors import UserError


def main(run: Callable[..., None]) -> None:
    """Call `run(paths..., settings=...)` with paths from flags of the same names.

    A user's mistake is printed as one line and exits with 2; anything else is a defect: a traceback.
    """
    paths = [name for name in inspect.signature(run).parameters if name != "settings"]
    parser = argparse.ArgumentParser(
        description=inspect.getdoc(run), formatter_class=argparse.RawTextHelpFormatter
    )
    for name in paths:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--params", type=Path, help="params.yaml; default: the project's")
    parser.add_argument("--subject", type=Path, help="subject.yaml whose blocks override params.yaml")
    args = vars(parser.parse_args())
    logging.basicConfig(
        level=os.environ.get("DREAMLINE_LOG", "INFO"), format="%(message)s", stream=sys.stderr
    )
    try:
        params_file = args["params"] or settings.find_project(Path.cwd()) / "params.yaml"
        run(**{name: args[name] for name in paths}, settings=settings.load(params_file, args["subject"]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
