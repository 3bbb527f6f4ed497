"""An HTTP server on the loopback for processes of their own to call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass(frozen=True, slots=True)
class Heard:
    """One call: its path, its headers in small letters, its body as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """What it says."""
        return json.loads(self.body)


@dataclass(slots=True)
class Ear:
    """Where it listens, and what it heard."""

    url: str
    heard: list[Heard] = field(default_factory=list)


@contextmanager
def listening(answer: Callable[[Heard], tuple[int, object]]) -> Iterator[Ear]:
    """A server that answers with a status and JSON, for the time of a block."""
    ear: Ear

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            call = Heard(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            ear.heard.append(call)
            status, said = answer(call)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ear = Ear(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ear
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
