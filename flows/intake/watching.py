"""The loops: look into the inbox and the bucket again and again, whatever happened at the look before."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from flows.intake import acceptance, bucket, drops, options, settling
from flows.intake.acceptance import Later, Unposted
from flows.intake.drops import Taken
from flows.intake.options import Params
from flows.intake.order import Rejected
from flows.intake.settling import Settling
from flows.lock import held
from flows.workspace import Workspace
from tasks import ingest
from tasks.photos import names
from tasks.shared import settings
from tasks.shared.errors import UserError

log = logging.getLogger(__name__)

ABANDONED_S = 24 * 3600.0
"""After which a download or post that never became complete is removed from the staging area."""


@dataclass
class Inbox:
    """One watcher of data/inbox/. What it remembers only saves work; all that counts lies on the disk."""

    workspace: Workspace
    options: Params
    settling: Settling = field(default_factory=Settling)
    told: dict[str, str] = field(default_factory=dict)
    unposted: set[Path] = field(default_factory=set)

    def look(self) -> None:
        """Take what is complete and bring all that was taken as far as it goes.

        Raises:
            Busy: another watcher is at this inbox.
            UserError: the project's own settings are wrong, so that nobody's photos can be judged.
        """
        with held(
            self.workspace.state / "inbox.lock", busy="data/inbox: watched by another `dreamline serve`"
        ):
            told = settings.load(self.workspace.params_file)
            told.section(ingest.Params, "ingest"), told.recipe("ingest")
            drops.clear_staging(self.workspace, ABANDONED_S)
            for drop, seen in self.settling.complete(drops.inbox(self.workspace), self.options):
                with suppress(FileNotFoundError):  # renamed at this very moment
                    self._take(drop.name, seen.signature)
            self._bring_on()

    def _take(self, name: str, signature: str) -> None:
        """Take a drop, unless somebody began to write into it since it was looked at."""
        taken = drops.take(self.workspace, drops.inbox(self.workspace) / name)
        if settling.scan(taken.drop, self.options.max_files).signature != signature:
            drops.give_back(self.workspace, taken)

    def _bring_on(self) -> None:
        waiting: set[str] = set()  # subjects of drops that are not at their end: no later one may overtake
        api_is_there = True
        for taken in drops.all_taken(self.workspace):
            subject = acceptance.subject_of(taken)
            if (subject and subject in waiting) or (not api_is_there and taken.folder in self.unposted):
                waiting.add(subject)
                continue
            try:
                self._end(taken, api_is_there)
            except (Later, UserError) as reason:
                if isinstance(reason, Unposted):
                    api_is_there = False
                    self.unposted.add(taken.folder)
                taken.not_its_fault()
                waiting.add(subject)
                self._say(taken, str(reason))
            except Exception:  # one drop must not stop the others; after some tries it is moved aside
                waiting.add(subject)
                log.exception("inbox: %s", names.shown(taken.drop.name))

    def _end(self, taken: Taken, api_is_there: bool) -> None:
        name = names.shown(taken.drop.name)
        try:
            subject = acceptance.accept(self.workspace, taken, self.options, api_is_there)
            log.info("inbox: %s: accepted as data/subjects/%s", name, subject)
        except Rejected as reason:
            place = drops.reject(self.workspace, taken.folder, taken.drop.name, str(reason))
            log.warning(
                "inbox: %s: moved to data/inbox/rejected/%s: %s", name, names.shown(place.name), reason
            )

    def _say(self, taken: Taken, reason: str) -> None:
        """Once, not at every look."""
        if self.told.get(taken.folder.name) != reason:
            log.warning("inbox: %s waits: %s", names.shown(taken.drop.name), reason)
            self.told[taken.folder.name] = reason


def watch(workspace: Workspace, stop: threading.Event) -> None:
    """Watch the inbox, and the bucket if one is named, until `stop` is set.

    Raises:
        UserError: the section `inbox` of params.yaml is wrong.
    """
    told = options.read(workspace)
    drops.inbox(workspace).mkdir(parents=True, exist_ok=True)
    threads = []
    if told.bucket:
        look = bucket.Bucket(workspace, told).look
        threads.append(
            threading.Thread(target=_repeat, args=("bucket", look, told.poll_s, stop), daemon=True)
        )
    for thread in threads:
        thread.start()
    _repeat("inbox", Inbox(workspace, told).look, told.poll_s, stop)
    for thread in threads:
        thread.join(timeout=30)


def _repeat(what: str, look: Callable[[], None], poll_s: float, stop: threading.Event) -> None:
    """Look every `poll_s` seconds; what went wrong is said once, and tried again."""
    told = ""
    while not stop.is_set():
        try:
            look()
            told = ""
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            if words != told:
                log.warning(
                    "%s: %s; looking again every %g s",
                    what,
                    error,
                    poll_s,
                    exc_info=not isinstance(error, UserError),
                )
            told = words
        stop.wait(poll_s)
