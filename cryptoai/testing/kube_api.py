"""A small API server of one TradingBot, over real HTTP: list, watch, bookmarks, 410, silence, broken connections.

For tests of whoever watches. It speaks the watch protocol as a kube-apiserver does (chunked lines, timeoutSeconds) and
knows nothing else; it must never be taken for proof of what a real one admits.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["BREAK", "NAME", "SPACE", "FakeApi", "served", "tradingbot"]

NAME, SPACE = "btc", "desk"
BREAK = b"BREAK"
"""As a line: the connection is lost within a watch."""


def tradingbot(version: int, kill: Any = None, name: str = NAME, uid: str = "u-1") -> dict[str, Any]:
    """An object of that resource version; `kill` is its spec.killSwitch."""
    spec = {} if kill is None else {"killSwitch": kill}
    metadata = {"name": name, "namespace": SPACE, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec}


@dataclass
class FakeApi:
    """One TradingBot behind HTTP: list, watch with bookmarks, 410, silence and broken connections, as told."""

    thing: dict[str, Any] | None = field(default_factory=lambda: tradingbot(1))
    version: int = 1
    refuse: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)
    lines: queue.Queue[bytes | None] = field(default_factory=queue.Queue)
    url: str = ""
    ending: threading.Event = field(default_factory=threading.Event)

    def put(self, kill: Any, *, tell: bool = True) -> float:
        """Changes spec.killSwitch; the time at which a watcher was told."""
        self.version += 1
        self.thing = tradingbot(self.version, kill)
        if tell:
            self.say("MODIFIED", self.thing)
        return time.monotonic()

    def say(self, kind: str, thing: Mapping[str, Any]) -> None:
        self.lines.put(json.dumps({"type": kind, "object": thing}).encode() + b"\n")

    def end_watch(self) -> None:
        self.lines.put(None)

    def watches(self) -> list[dict[str, str]]:
        return [asked for asked in self.requests if "watch" in asked]

    def lists(self) -> list[dict[str, str]]:
        return [asked for asked in self.requests if "watch" not in asked]


@contextmanager
def served(api: FakeApi) -> Iterator[FakeApi]:
    """`api` behind a port of its own, at api.url."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5

        def do_GET(self) -> None:
            _answer(self, api)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
            """Tests read `requests`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        api.ending.set()
        api.end_watch()
        server.shutdown()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, api: FakeApi) -> None:
    split = urlsplit(handler.path)
    asked = {key: value[0] for key, value in parse_qs(split.query).items()}
    asked |= {"path": split.path, "authorization": handler.headers.get("authorization", "")}
    api.requests.append(asked)
    if api.refuse:
        return _whole(handler, api.refuse, {"kind": "Status", "code": api.refuse, "message": "told to refuse"})
    if "watch" not in asked:
        items = [api.thing] if api.thing is not None else []
        return _whole(handler, 200, {"metadata": {"resourceVersion": str(api.version)}, "items": items})
    return _stream(handler, api, float(asked["timeoutSeconds"]))


def _whole(handler: BaseHTTPRequestHandler, code: int, body: Any) -> None:
    text = json.dumps(body).encode()
    handler.send_response(code)
    handler.send_header("content-length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def _next_line(api: FakeApi, seconds: float) -> bytes | None:
    """None ends the watch, as the server does after timeoutSeconds; a negative number is a server that forgot."""
    try:
        return api.lines.get(timeout=seconds if seconds > 0 else None)
    except queue.Empty:
        return None


def _stream(handler: BaseHTTPRequestHandler, api: FakeApi, seconds: float) -> None:
    handler.send_response(200)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    handler.wfile.flush()
    while not api.ending.is_set() and (line := _next_line(api, seconds)) is not None:
        if line == BREAK:
            handler.close_connection = True
            return
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
    handler.wfile.write(b"0\r\n\r\n")
