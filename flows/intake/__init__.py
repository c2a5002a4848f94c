"""New subjects start by themselves: folders and zips in data/inbox/, objects in a bucket, posts over HTTP.

The inbox on disk is the queue, and every step is one rename or one small file, so that whatever dies between two of
them, the next look goes on to the same end:

    data/inbox/rex  --complete-->  .taken/<id>/rex  --subject made, run posted-->  done/rex/<id>/
                                                    \\--cannot be used-->           rejected/rex-<n>/ with reason.txt

A drop is complete when it has not changed for a while or when its marker `rex.ready` says so. Nothing is deleted.
"""

from flows.intake.watching import watch

__all__ = ["watch"]
