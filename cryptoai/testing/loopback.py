"""A web server of a test's own, on this machine and a free port, that answers what the test decides.

Used by the tests of everything that reads from a URL, so that the real client, with its retries and timeouts, runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Answer", "Asked", "Loopback", "loopback"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its path, its query and its headers in lower case."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. `hang` keeps the client waiting until the server is closed; `promised` overstates the length."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    promised: int = 0


Reply = Callable[[Asked], Answer]


class Loopback:
    """`url` of the server and the requests that it has seen."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []


@contextmanager
def loopback(reply: Reply) -> Iterator[Loopback]:
    """Serves `reply` until the block ends."""
    closing = threading.Event()
    seen = Loopback("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(reply, seen, closing))
    server.daemon_threads = True
    seen.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def _handler(reply: Reply, seen: Loopback, closing: threading.Event) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that the standard library calls
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(parts.path, dict(parse_qsl(parts.query)), headers)
            seen.asked.append(asked)
            answer = reply(asked)
            if answer.hang:
                closing.wait(10)
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(answer.promised or len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the standard library's name
            """Silent: a test's output is its own."""

    return Handler
