"""`python -m flows.store.pulling TARGET ...`: `dvc pull` that hashes what it gets.

DVC takes what a remote answers for what it asked for, unless `verify` is set at the remote: a flipped bit would become a
result. Here it is set for every remote, for this call only. A process of its own, so that it can be ended.
"""

import argparse
import logging
import sys


def main() -> None:
    """Pull, and print what came; or what is wrong, and exit with 1."""
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--remote")
    parser.add_argument("--force", action="store_true")
    told = parser.parse_args()
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    verified = {"remote": {name: {"verify": True} for name in Repo(".").config["remote"]}}
    try:
        with Repo(".", config=verified, _wait_for_lock=True) as repo:
            stats = repo.pull(targets=told.targets, remote=told.remote, force=told.force)
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)
    print(f"{stats.get('fetched', 0)} files fetched")


if __name__ == "__main__":
    main()
