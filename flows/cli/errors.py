"""Every mistake that a user can mend is one line on stderr and exit code 2; `--debug` adds the traceback."""

import errno
import sys
import traceback
from collections.abc import Callable

from tasks.shared.errors import Transient, UserError

MENDABLE = {
    errno.ENOSPC: "the disk is full; free some space and run it again",
    errno.EDQUOT: "the disk quota is used up; free some space and run it again",
    errno.EROFS: "the file system is read-only; move the project where it can be written",
    errno.EACCES: "permission denied; make it readable and writable for you",
    errno.EPERM: "not permitted; make it readable and writable for you",
}


def exit_code(call: Callable[[], object], debug: bool) -> int:
    """Run `call`; say in one line what went wrong, if anything.

    A defect of the program itself shows its traceback and is 1.
    """
    try:
        call()
        return 0
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, the next run goes on from there", file=sys.stderr)
        return 130
    except (UserError, Transient) as error:
        return _complain(str(error), debug)
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{MENDABLE[error.errno]}", debug)


def _complain(message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2
