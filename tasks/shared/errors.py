"""Errors that a user can cause, and can mend."""


class UserError(Exception):
    """Something outside the code is wrong; the message is one line that names the file or key and the fix.

    The command line prints it without a traceback and exits with 2.
    """


class Transient(Exception):
    """Something that may pass by itself (network, a lost worker, memory); flows retry nothing else."""
