"""`POST /subjects`: photos from an app become a drop in the inbox. Needs a token; without one it is off.

    curl -H "Authorization: Bearer $DREAMLINE_WEBHOOK_TOKEN" -F name=rex -F class=dog -F photos=@rex.zip \\
      http://127.0.0.1:4280/subjects
"""

import hmac
import ipaddress
import json
import logging
import os
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from ruamel.yaml import YAML
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.intake import drops, order, receipts
from flows.intake import options as inbox_options
from flows.intake.order import Rejected
from flows.workspace import Workspace
from tasks.photos import archive
from tasks.shared import params
from tasks.shared.errors import UserError
from tasks.shared.subject import checked_slug

log = logging.getLogger(__name__)

TOKEN = "DREAMLINE_WEBHOOK_TOKEN"
SHORTEST_TOKEN = 16
MOST_ADDRESSES = 10_000
"""Whose posts are counted at once; the rate of more callers than that cannot be told apart."""


class Params(params.Params):
    """Where posts are listened for, and how many and how large they may be."""

    host: str = Field(default="127.0.0.1", description="address to listen at; 0.0.0.0 for all of the network")
    port: int = Field(default=4280, ge=1, le=65535, description="port to listen at")
    token_file: str | None = Field(
        default=None,
        description=f"file that holds the token, if the environment's {TOKEN} does not; null: none",
    )
    max_mb: float = Field(default=200, gt=0, le=10_000, description="size of one post at most, MB")
    per_minute: int = Field(default=30, ge=1, le=10_000, description="posts a minute of one address at most")


def run(workspace: Workspace, stop: threading.Event) -> None:
    """Listen until `stop` is set; returns at once where there is no token.

    Raises:
        UserError: it would listen beyond this machine without a token, the token is too short, or the port is taken.
    """
    told = params.validate(Params, workspace.section("webhook"), "params.yaml: webhook")
    token = read_token(workspace, told)
    if token is None:
        if not _is_loopback(told.host):
            raise UserError(
                f"params.yaml: webhook.host: {told.host} is open to the network and there is no token; "
                f"set {TOKEN}, or listen at 127.0.0.1"
            )
        log.info("webhook: off, since neither %s nor webhook.token_file gives a token", TOKEN)
        return
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            application(workspace, token, told),
            host=told.host,
            port=told.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # anybody could name any address, and so get around the rate
            limit_concurrency=32,
            timeout_graceful_shutdown=5,
        )
    )

    def end() -> None:
        stop.wait()
        server.should_exit = True

    threading.Thread(target=end, daemon=True).start()
    log.info("webhook: listening at http://%s:%d/subjects", told.host, told.port)
    try:
        server.run()
    except SystemExit as error:  # uvicorn's way to say that the port is taken
        raise UserError(f"params.yaml: webhook.port: {told.port} is in use; give another one") from error


def read_token(workspace: Workspace, told: Params) -> str | None:
    """The token from the environment, else from its file; None if neither has one.

    Raises:
        UserError: it is short enough to be guessed, or its file cannot be read.
    """
    token, where = os.environ.get(TOKEN, ""), TOKEN
    if not token and told.token_file:
        where = f"webhook.token_file: {told.token_file}"
        try:
            token = (workspace.root / told.token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"params.yaml: {where}: cannot be read ({error})") from error
    if not token:
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii():
        raise UserError(
            f"{where}: give at least {SHORTEST_TOKEN} ASCII letters, such as `openssl rand -hex 32`"
        )
    return token


def application(workspace: Workspace, token: str, told: Params) -> FastAPI:
    """The HTTP interface; it writes into the inbox and starts nothing itself."""
    app = FastAPI(title="Dreamline", docs_url=None, redoc_url=None, openapi_url=None)
    door = _Door(token, told.per_minute)

    @app.exception_handler(StarletteHTTPException)
    async def explain(request: Request, error: StarletteHTTPException) -> JSONResponse:
        # closed, or the server would go on reading a body that nobody wants
        headers = {**(error.headers or {}), "Connection": "close"}
        return JSONResponse({"error": str(error.detail)}, error.status_code, headers=headers)

    @app.post("/subjects", status_code=202)
    async def post(request: Request) -> dict[str, str]:
        door.check(request)
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise HTTPException(415, "send multipart/form-data: a zip as `photos`, and name, class, prompts")
        async with request.form(max_files=2, max_fields=110, max_part_size=order.MOST_BYTES) as form:
            return await run_in_threadpool(_drop, workspace, form)

    @app.get("/subjects/{name}")
    def status(name: str, request: Request) -> dict[str, Any]:
        door.check(request)
        return _status(workspace, name)

    app.add_middleware(_SizeLimit, most_bytes=int(told.max_mb * 1e6))
    return app


class _Door:
    """Who may come in, and how often."""

    def __init__(self, token: str, per_minute: int):
        self.token, self.per_minute = f"Bearer {token}".encode(), per_minute
        self.times: dict[str, deque[float]] = {}

    def check(self, request: Request) -> None:
        """Count the call, wrong tokens too, so that they cannot be guessed; then compare in constant time."""
        now, address = time.monotonic(), request.client.host if request.client else ""
        if len(self.times) >= MOST_ADDRESSES:
            self.times = {key: times for key, times in self.times.items() if now - times[-1] < 60}
        if len(self.times) >= MOST_ADDRESSES:
            address = ""
        times = self.times.setdefault(address, deque(maxlen=self.per_minute))
        if len(times) == self.per_minute and now - times[0] < 60:
            wait_s = 61 - int(now - times[0])
            raise HTTPException(
                429,
                f"more than {self.per_minute} calls a minute; wait {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )
        times.append(now)
        given = request.headers.get("authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self.token):
            raise HTTPException(
                401, "send the header `Authorization: Bearer <token>`", headers={"WWW-Authenticate": "Bearer"}
            )


class _SizeLimit:
    """Ends a request whose body grows too large while it is read, whatever its Content-Length says."""

    def __init__(self, app: ASGIApp, most_bytes: int):
        self.app, self.most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        left = self.most_bytes

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"larger than {self.most_bytes / 1e6:g} MB (webhook.max_mb)")
            return message

        await self.app(scope, counted if scope["type"] == "http" else receive, send)


def _drop(workspace: Workspace, form: Any) -> dict[str, str]:
    """Write the drop beside the inbox and hand it over in one rename."""
    asked, photos, consent = _read(form)
    values = asked.model_dump(by_alias=True, exclude_none=True)
    name = values["name"]
    _check_class(workspace, name, asked)
    staged = drops.new_folder(workspace, "staging")
    try:
        folder = staged / name
        folder.mkdir()
        _save(photos, folder / "photos.zip")
        if consent is not None:
            (folder / "consent.yaml").write_bytes(consent)
        with open(folder / order.FILES[0], "w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(json.loads(json.dumps(values)), file)
        if not archive.is_archive(folder / "photos.zip"):
            raise HTTPException(400, "photos: no zip; pack the photos into one")
        drops.hand_over(workspace, staged)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return {"name": name, "status": f"/subjects/{name}"}


def _read(form: Any) -> tuple[order.Order, UploadFile, bytes | None]:
    values: dict[str, Any] = {}
    for key in form:
        found = form.getlist(key)
        if key == "prompts":
            values[key] = found
        elif key not in ("photos", "consent"):
            values[key] = found[-1]
    photos, consent = form.get("photos"), form.get("consent")
    if not isinstance(photos, UploadFile):
        raise HTTPException(400, "photos: missing; send a zip of photos as this file")
    record = None
    if isinstance(consent, str):
        raise HTTPException(400, "consent: send the record itself, as a file")
    if isinstance(consent, UploadFile):
        values["consent"] = "consent.yaml"
        record = consent.file.read(order.MOST_BYTES + 1)
        if len(record) > order.MOST_BYTES:
            raise HTTPException(413, f"consent: larger than {order.MOST_BYTES // 1000} kB")
    if not values.get("name"):
        raise HTTPException(400, "name: missing; say how the subject is called, such as rex")
    try:
        return order.checked(values, "POST /subjects"), photos, record
    except Rejected as reason:
        raise HTTPException(400, str(reason)) from reason


def _check_class(workspace: Workspace, name: str, asked: order.Order) -> None:
    """Say at once what the inbox would say later."""
    known = asked.class_word or inbox_options.read(workspace).default_class
    if not known and name not in workspace.subjects():
        raise HTTPException(400, "class: missing; say what the subject is, such as dog")


def _save(upload: UploadFile, path: Path) -> None:
    with open(path, "wb") as file:
        shutil.copyfileobj(upload.file, file)
        file.flush()
        os.fsync(file.fileno())


def _status(workspace: Workspace, name: str) -> dict[str, Any]:
    """Where a subject's newest drop is: waiting, rejected with a reason, or accepted with the id of its run."""
    try:
        checked_slug(name)
    except ValueError as error:
        raise HTTPException(404, "no such subject") from error
    box = drops.inbox(workspace)
    if any((folder / name).exists() for folder in (box / ".taken").glob("[0-9]*")) or (box / name).exists():
        return {"name": name, "state": "waiting"}
    receipt = receipts.read(workspace.subjects_folder / name)
    refused = max(
        (place for place in (box / "rejected").glob(f"{name}-[0-9]*") if (place / name).exists()),
        key=lambda place: (place / drops.REASON).stat().st_mtime,
        default=None,
    )
    accepted_s = (workspace.subjects_folder / name / receipts.FILE).stat().st_mtime if receipt else 0.0
    if refused and (refused / drops.REASON).stat().st_mtime > accepted_s:
        reason = (refused / drops.REASON).read_text(encoding="utf-8").strip()
        return {"name": name, "state": "rejected", "reason": reason}
    if receipt:
        return {"name": name, "state": "accepted", "run": receipt.run}
    raise HTTPException(404, "no such subject")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
