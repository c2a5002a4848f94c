"""An HTTP proxy before a real S3 server that misbehaves on purpose."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Fault = Callable[["Request"], bool]
"""Misbehave, or return False to let the request through."""

HOP = {"connection", "keep-alive", "transfer-encoding", "expect"}


class Request(BaseHTTPRequestHandler):
    """One request; the server knows the upstream, the fault and how many came before."""

    protocol_version = "HTTP/1.1"
    server: "Proxy"
    body: bytes

    def handle_any(self) -> None:
        with self.server.lock:
            self.server.seen += 1
            self.number = self.server.seen
        self.body = self._read()
        if self.server.fault(self):
            return
        self.forward()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def forward(self, change_answer: Callable[[bytes], bytes] = lambda data: data) -> None:
        """Ask the real server and pass on what it says."""
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        headers["Content-Length"] = str(len(self.body))
        upstream.request(self.command, self.path, self.body or None, headers)
        answer = upstream.getresponse()
        data = change_answer(answer.read())
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP | {"content-length", "date", "server"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        upstream.close()

    def say(self, status: int, code: str) -> bool:
        """An S3 error."""
        data = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        return True

    def reset(self) -> bool:
        """Cut the connection so that the other side sees a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        return True

    def _read(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return data

    def log_message(self, *_: object) -> None:
        """Be quiet."""


class Proxy(ThreadingHTTPServer):
    """Forwards to a real server what `fault` lets through."""

    daemon_threads = True

    def __init__(self, upstream: str):
        super().__init__(("127.0.0.1", 0), Request)
        self.upstream, self.lock, self.seen = urlsplit(upstream).netloc, threading.Lock(), 0
        self.fault: Fault = none

    def handle_error(self, *_: object) -> None:
        """A client that has gone is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy that runs."""
    server = Proxy(upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def none(request: Request) -> bool:
    """All is well."""
    return False


def sometimes_503(request: Request) -> bool:
    """Every fifth request is one too many."""
    return request.number % 5 == 0 and request.say(503, "SlowDown")


def sometimes_reset(request: Request) -> bool:
    """Every fourth connection is cut."""
    return request.number % 4 == 0 and request.reset()


def slow(request: Request) -> bool:
    """A thirtieth of a second each, one after the other."""
    time.sleep(0.03)
    return False


def hangs(request: Request) -> bool:
    """Says nothing for longer than anybody waits."""
    if request.command != "PUT":
        return False
    time.sleep(30)
    return request.reset()


def full(request: Request) -> bool:
    """No room for anything new."""
    return request.command in ("PUT", "POST") and request.say(507, "InsufficientStorage")


def expired(request: Request) -> bool:
    """The credentials were good an hour ago."""
    return request.say(403, "ExpiredToken")


def sometimes_flips_what_is_put(request: Request) -> bool:
    """A bit of every fifth upload is another at the server."""
    if request.command == "PUT" and request.body and request.number % 5 == 0:
        request.body = _flipped(request.body)
    return False


def flips_what_is_got(request: Request) -> bool:
    """A bit of every download is another here."""
    if request.command != "GET" or "list-type" in request.path or not request.path.count("/files/md5/"):
        return False
    request.forward(_flipped)
    return True


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else data
