"""Who hears of a night: a webhook and e-mail. Each has a deadline, is tried again, and fails no night."""

from __future__ import annotations

import logging
import os
import smtplib
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from flows import night_report
from flows.night_report import Night

if TYPE_CHECKING:
    from flows.nightly import Params

log = logging.getLogger(__name__)

DEADLINE_S = 10.0  # of one attempt
DELAYS_S = (2.0, 10.0)  # before the second and third
URL, PASSWORD = "DREAMLINE_WEBHOOK_URL", "DREAMLINE_SMTP_PASSWORD"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Refused(Exception):
    """The other side will say the same again."""


def send(night: Night, page: Path, options: Params) -> list[str]:
    """Tell whom params name; returns what could not be told, which is logged as well."""
    complaints = []
    if url := os.environ.get(URL) or options.webhook_url:
        host = urlsplit(url).hostname  # the rest of the address may be a secret
        complaints.append(_attempts(f"webhook at {host}", lambda: _post(url, night, page)))
    if options.mail_to:
        where = f"mail by {options.smtp_host}"
        complaints.append(_attempts(where, lambda: _mail(night, page, options)))
    return [complaint for complaint in complaints if complaint]


def _attempts(what: str, tell: Callable[[], None]) -> str | None:
    for delay in (*DELAYS_S, None):
        try:
            tell()
            return None
        except Exception as error:
            given_up = delay is None or isinstance(error, _Refused)
            reason = type(error).__name__ if not isinstance(error, _Refused) else str(error)
        if given_up:
            log.warning("%s: not told: %s", what, reason)
            return f"{what}: {reason}"
        time.sleep(delay or 0)
    return None


def _post(url: str, night: Night, page: Path) -> None:
    """`text` is what chat programs show of a message; `night` is for everybody else."""
    body = {
        "text": f"Dreamline: {night.headline}",
        "report": page.as_uri(),
        "night": night_report.summary(night),
    }
    answer = httpx.post(url, json=body, timeout=DEADLINE_S, follow_redirects=False)
    if answer.status_code >= 500 or answer.status_code == 429:
        answer.raise_for_status()
    if not answer.is_success:
        raise _Refused(f"answered {answer.status_code}")


def _mail(night: Night, page: Path, options: Params) -> None:
    message = EmailMessage()
    message["Subject"] = f"Dreamline: {night.headline}"[:200]
    message["From"], message["To"] = options.mail_from, ", ".join(options.mail_to)
    message.set_content(_letter(night, page))
    context, host, port = ssl.create_default_context(), options.smtp_host, options.smtp_port
    server = (
        smtplib.SMTP_SSL(host, port, timeout=DEADLINE_S, context=context)
        if port == 465
        else smtplib.SMTP(host, port, timeout=DEADLINE_S)
    )
    with server:
        server.ehlo()
        safe = port == 465
        if not safe and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
            safe = True
        if options.smtp_user:
            if not safe and host not in LOOPBACK:
                raise _Refused("the mail server offers no TLS, and a password is not sent without")
            if PASSWORD not in os.environ:
                raise _Refused(f"{PASSWORD} is not set")
            server.login(options.smtp_user, os.environ[PASSWORD])
        server.send_message(message)


def _letter(night: Night, page: Path) -> str:
    lines = [night.headline, "", *(f"{key}: {value}" for key, value in night.facts().items()), ""]
    for state in ("failed", "stopped"):
        lines += [f"{row.subject} {state}: {row.reason}" for row in night.of(state)[:50]]
    lines += [f"{row.subject} got worse" for row in night.worse[:50]]
    return "\n".join([*lines, "", f"The report, on the machine that ran it: {page.as_uri()}", ""])
