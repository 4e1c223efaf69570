"""The dashboard as a Starlette application: the page, its JSON, its live stream, and GET /metrics for Prometheus.

Made by the composition root (`cryptoai dashboard`) and by tests. Read-only: no route changes anything and no secret
is in a journal, so it needs no login beside a bot. Everything is served from here; no other host is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from cryptoai.core.clock import Clock, SystemClock
from cryptoai.monitoring.dashboard.live import Live
from cryptoai.monitoring.drift_watch import DriftWatch
from cryptoai.monitoring.follower import Follower
from cryptoai.monitoring.metrics import Sample, samples

__all__ = ["Exposition", "create_app"]

Exposition = Callable[[Iterable[Sample]], tuple[bytes, str]]
"""Renders samples for GET /metrics: (body, content type)."""

_STATIC = Path(__file__).parent / "static"
_TRY_LATER, _POLICY = 1013, 1008
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def create_app(
    journal_path: Path,
    *,
    exposition: Exposition,
    bundle_dir: Path | None = None,
    state_log: Path | None = None,
    title: str = "CryptoAI",
    clock: Clock | None = None,
) -> Starlette:
    """The page of the bot that writes `journal_path`; the file may come later, be replaced, or end torn.

    `bundle_dir` gives the reference of drift if its evidence has one, `state_log` the states (`monitoring.state_log`).
    """
    live = Live(Follower(journal_path), DriftWatch(bundle_dir, state_log), clock or SystemClock(), title)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await live.refresh()
        task = asyncio.create_task(live.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app = Starlette(routes=_routes(live, exposition), lifespan=lifespan)
    app.add_middleware(_SafeHeaders)
    return app


def _decisions(live: Live) -> list[dict[str, Any]]:
    return live.view.decisions()


def _routes(live: Live, exposition: Exposition) -> list[Route | Mount | WebSocketRoute]:
    async def page(_: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def metrics(_: Request) -> Response:
        body, kind = exposition(samples(live.view, live.drift, live.source, live.clock.now_ns()))
        return Response(body, headers={"content-type": kind})

    async def healthz(_: Request) -> Response:
        health = live.health()
        return _json({"status": "ok", **health})

    def api(read: Callable[[], Any]) -> Callable[[Request], Any]:
        async def answer(_: Request) -> Response:
            return _json(read())

        return answer

    found = {
        "metrics": lambda: {"health": live.health(), **live.view.head()},
        "alerts": lambda: list(live.view.alerts),
        "drift": lambda: live.drift,
        "decisions": lambda: _decisions(live),
        "positions": lambda: _positions(live),
        "orders": lambda: list(live.view.orders.values()),
    }
    return [
        Route("/", page),
        Route("/healthz", healthz),
        Route("/metrics", metrics),
        *(Route(f"/api/{name}", api(read)) for name, read in found.items()),
        WebSocketRoute("/ws", lambda socket: _stream(live, socket)),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]


async def _stream(live: Live, socket: WebSocket) -> None:
    """One browser: a snapshot, then what changes, until either side goes."""
    if not _same_origin(socket):
        await socket.close(_POLICY)
        return
    await socket.accept()
    with live.subscribe() as queue:
        gone = asyncio.create_task(_until_gone(socket))
        try:
            while not gone.done():
                message = await _next(queue, gone)
                if message is None:
                    break
                await socket.send_text(message.decode())
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            gone.cancel()
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.close(_TRY_LATER)


async def _next(queue: asyncio.Queue[bytes | None], gone: asyncio.Task[None]) -> bytes | None:
    """The next message, or None once the browser has left."""
    waiting = asyncio.create_task(queue.get())
    done, _ = await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
    if waiting in done:
        return waiting.result()
    waiting.cancel()
    return None


async def _until_gone(socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()


def _same_origin(socket: WebSocket) -> bool:
    """A page of another site may not listen; programs send no origin."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


def _positions(live: Live) -> list[dict[str, str]]:
    equity = live.view.equity
    marks = equity.get("marks", {})
    return [
        {"instrument": name, "quantity": quantity, "mark": marks.get(name, "")}
        for name, quantity in sorted(equity.get("positions", {}).items())
    ]


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


class _SafeHeaders:
    """Puts the same protective headers on every HTTP response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)
