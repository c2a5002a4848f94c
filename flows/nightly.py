"""The night: one look at all subjects, class priors first, then whoever is stale; one failure stops no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from flows import (
    batches,
    night_report,
    notices,
    personalize,
    pool,
    priors,
    retention,
    together,
    transient,
    turns,
)
from flows.night_report import Night
from flows.priors import Priors
from flows.store import staleness
from flows.store.staleness import Forecast
from flows.store.untouched import Untouched
from flows.workspace import Workspace
from tasks.shared import params
from tasks.shared.errors import Transient, UserError

log = logging.getLogger(__name__)


class Params(params.Params):
    """When the nightly run starts, how often it tries, and who hears of it."""

    cron: str = Field(default="0 3 * * *", description="minute hour day month weekday of the nightly run")
    timezone: str = Field(default="UTC", description="time zone of `cron`, such as Europe/Berlin")
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=20,
        description="attempts at a subject whose failure may pass by itself (network, memory, a lost worker)",
    )
    retry_wait_s: float = Field(
        default=60, ge=0, le=3600, description="seconds before those are tried again, all others done"
    )
    keep_reports: int = Field(
        default=60, ge=1, le=10_000, description="reports of nights kept in .dreamline/fleet/"
    )
    prune: bool = Field(default=False, description="remove at the end what `retention` no longer keeps")
    webhook_url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="where the report is posted as JSON; DREAMLINE_WEBHOOK_URL in the environment goes before it",
    )
    mail_to: tuple[str, ...] = Field(default=(), description="addresses that get the report by e-mail")
    mail_from: str = Field(default="dreamline@localhost", description="sender of that e-mail")
    smtp_host: str = Field(default="localhost", description="mail server")
    smtp_port: int = Field(default=25, ge=1, le=65535, description="its port; 465 speaks TLS from the start")
    smtp_user: str | None = Field(
        default=None, description="name at the mail server; its password is DREAMLINE_SMTP_PASSWORD"
    )


@dataclass(frozen=True)
class Failure:
    """Why a subject is not up to date."""

    reason: str
    passing: bool  # another attempt may do better


Update = Callable[[Workspace, Sequence[Forecast], personalize.Tell], Mapping[str, Failure]]
"""Brings stale subjects up to date, in whatever way, and says which failed; must not raise for a subject."""


def run(
    workspace: Workspace,
    names: Iterable[str],
    tell: personalize.Tell = lambda name, event: None,
    update: Update | None = None,
) -> Night:
    """Bring some subjects up to date; one look at all of them first.

    Args:
        update: default: by the pool of workers where params name one, else one after another in this process.
    Returns:
        A row per subject, a failed one with its reason, and what the night cost.
    """
    options, began = read_params(workspace), datetime.now(UTC)
    forecasts = staleness.forecasts(workspace, names, Untouched(workspace))
    stale = [forecast for forecast in forecasts if forecast.error is None and not forecast.fresh]
    before = night_report.snapshots(workspace, stale)
    pooled = update is None and pool.options(workspace).pool is not None
    shared = Priors() if pooled else priors.first(workspace, stale, tell)  # a pool's workers make them
    failures = {
        forecast.name: _failure(shared.failed[missing], f"class pictures of {missing}: ")
        for forecast in stale
        for missing in sorted(priors.of(forecast) & set(shared.failed))
    }
    failures |= _in_attempts(
        workspace,
        [one for one in stale if one.name not in failures],
        tell,
        update or (by_pool if pooled else one_by_one),
        options,
    )
    reasons = {name: failure.reason for name, failure in failures.items()}
    return night_report.drawn_up(workspace, began, forecasts, before, reasons, shared)


def one_by_one(workspace: Workspace, stale: Sequence[Forecast], tell: personalize.Tell) -> dict[str, Failure]:
    """Bring stale subjects up to date in this process, with warm models; fine-tunings that fit together share their steps."""
    together.train(workspace, stale, tell)
    failed = {}
    for forecast in stale:
        turns.give_way()
        try:
            personalize.run(workspace, forecast.name, tell)
        except Exception as error:  # whatever it is, the others must get their turn
            known = isinstance(error, UserError | Transient)
            log.warning("%s: %s", forecast.name, error, exc_info=not known)
            failed[forecast.name] = _failure(error)
    return failed


def by_pool(workspace: Workspace, stale: Sequence[Forecast], tell: personalize.Tell) -> dict[str, Failure]:
    """Let the workers of the pool bring stale subjects up to date.

    Raises:
        UserError: the params of pool and sharing are wrong.
    """
    try:
        results = batches.run(workspace, stale, tell)
    except Transient as error:  # no workers, or no way to them
        return {forecast.name: _failure(error) for forecast in stale}
    return {
        name: Failure(result.error, result.passing)
        for name, result in results.items()
        if result.error is not None
    }


def finish(workspace: Workspace, night: Night) -> Path:
    """Write the report, tell whoever wants to hear of it, tidy up; returns the page. A deaf hook fails no night."""
    options = read_params(workspace)
    page = night_report.write(workspace, night, options.keep_reports)
    night_report.publish(night, page)
    notices.send(night, page, options)
    if options.prune:
        try:
            retention.prune(workspace, retention.due(workspace, workspace.subjects()))
        except UserError as error:
            log.warning("prune: %s", error)
    return page


def read_params(workspace: Workspace) -> Params:
    """The section `nightly` of params.yaml.

    Raises:
        UserError: a key is wrong.
    """
    return params.validate(Params, workspace.section("nightly"), "params.yaml: nightly")


def _in_attempts(
    workspace: Workspace, stale: Sequence[Forecast], tell: personalize.Tell, update: Update, options: Params
) -> dict[str, Failure]:
    """All once; then, after a while, those again whose failure may have passed."""
    failed: dict[str, Failure] = {}
    left = list(stale)
    for attempt in range(1, options.max_attempts + 1):
        found = update(workspace, left, tell) if left else {}
        for forecast in left:
            failed.pop(forecast.name, None)
        failed |= found
        left = [one for one in left if one.name in found and found[one.name].passing]
        if not left:
            break
        if attempt < options.max_attempts:
            log.warning("again in %g s: %s", options.retry_wait_s, ", ".join(one.name for one in left))
            time.sleep(options.retry_wait_s)
    tried = {one.name for one in left}
    return {
        name: Failure(f"{one.reason} (tried {options.max_attempts} times)", True) if name in tried else one
        for name, one in failed.items()
    }


def _failure(error: Exception, what: str = "") -> Failure:
    return Failure(f"{what}{transient.words(error)}", transient.reason(error) is not None)
