"""A proxy before a real server of a store, that tampers with what is said of one object."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

ALWAYS = 1_000_000
"""More bodies than anybody asks for."""

DENIED_BY_GOOGLE = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>"
    b"hark@acme.iam.gserviceaccount.com does not have storage.objects.get access to the Google Cloud Storage object. "
    b"Permission 'storage.objects.get' denied on resource (or it may not exist).</Details></Error>"
)
_OF_THE_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")


@dataclass(slots=True)
class Meddler:
    """Passes everything on to the server at a port, but for what is asked of objects whose names end in `key`.

    Attributes:
        denied: the answer is 403 with this body.
        cuts: of so many bodies, only the first half is passed on, whatever Content-Length says.
        deaf: nobody tells the server that a part was asked for: it gives the whole.
        meanwhile: what happens, once, when the server has given a body that is not yet passed on.
        asked: what was asked of those objects: method, and range.
    """

    target: str
    key: str
    denied: bytes = b""
    cuts: int = 0
    deaf: bool = False
    meanwhile: Callable[[], object] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> str:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        address = urlsplit(self.target)
        return f"http://127.0.0.1:{self._server.server_port}{address.path}"

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        status, headers, body = self._of_the_server(request)
        size = int(headers.get("Content-Length") or len(body))
        if unquote(urlsplit(request.path).path).endswith(self.key):
            self.asked.append((request.command, request.headers.get("Range", "")))
            if self.denied:
                status, headers, body, size = 403, {"Content-Type": "application/xml"}, self.denied, len(self.denied)
            elif request.command == "GET":
                body = self._meddled(body)
        _write(request, status, headers, body, size)

    def _meddled(self, body: bytes) -> bytes:
        happens, self.meanwhile = self.meanwhile, None
        if happens:
            happens()
        if not self.cuts:
            return body
        self.cuts -= 1
        return body[: len(body) // 2]

    def _of_the_server(self, request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        there = urlsplit(self.target).netloc
        left_out = ("host", "range") if self.deaf else ("host",)
        headers = {name: said for name, said in request.headers.items() if name.lower() not in left_out}
        connection = HTTPConnection(there, timeout=30)
        try:
            connection.request(request.command, request.path, headers=headers)
            answer: HTTPResponse = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def _write(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes, size: int) -> None:
    """Whoever gets less than the size that is promised sees the connection end early."""
    request.send_response(status)
    for name, said in headers.items():
        if name.lower() not in _OF_THE_CONNECTION:
            request.send_header(name, said)
    request.send_header("Content-Length", str(size))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def _handler(meddler: Meddler) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            meddler.answer(self)

        def do_HEAD(self) -> None:
            meddler.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
