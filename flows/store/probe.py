"""`python -m flows.store.probe`: does the default remote answer? A process of its own, so it can be ended."""

import sys


def main() -> None:
    """Print the remote's address, or what is wrong with it and exit with 1."""
    from dvc.repo import Repo

    try:
        storage = Repo(".").cloud.get_remote_odb(hash_name="md5-dos2unix")  # its path is the remote's own
        storage.fs.exists(storage.fs.join(storage.path, "none"))
        if storage.fs.protocol == "local":
            print(f"{storage.path} (a folder on this machine)")
        else:
            storage.fs.ls(storage.path.partition("/")[0])  # the bucket: wrong keys and no bucket show here
            print(
                f"{storage.fs.protocol if isinstance(storage.fs.protocol, str) else storage.fs.protocol[0]}://{storage.path}"
            )
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
