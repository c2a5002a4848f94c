"""`python -m flows.store.pushing TARGET ...`: `dvc push` beside a run, not instead of one.

DVC holds the project's lock while it pushes, so the next subject's first question would wait for the network. What is
pushed is finished: its dvc.lock is written whole before anybody asks for it, and the cache only grows. So no lock is held
here. A process of its own, so that it can be ended.
"""

import argparse
import logging
import sys
from contextlib import nullcontext


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
            pushed = repo.push(targets=told.targets, remote=told.remote)
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)
    print(f"{pushed} files pushed" if pushed else "Everything is up to date.")


if __name__ == "__main__":
    main()
