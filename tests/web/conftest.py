"""A real server and a real browser for the page; skipped only where Debian's chromium is absent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Site:
    """One application on a port of this machine, in a thread; `stop` and `start` as often as wanted."""

    make: Callable[[], ASGIApp]
    port: int = 0
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(self.make(), log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(10)
            self._server = None


@dataclass
class Visit:
    """A page of the browser and whatever it complained about."""

    page: Any
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Callable[[Callable[[], ASGIApp]], Site]]:
    """`site(make)` starts what `make` makes; it is stopped after the test."""
    started: list[Site] = []

    def start(make: Callable[[], ASGIApp]) -> Site:
        made = Site(make)
        made.start()
        started.append(made)
        return made

    yield start
    for made in started:
        made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Of one module: the driver runs an event loop in this thread, which other modules must not meet."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is absent; apt-get install --no-install-recommends chromium fonts-dejavu-core")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Any) -> Callable[..., AbstractContextManager[Visit]]:
    """`with visit(url, width=, scheme=) as v`: v.page is open; afterwards there must be no complaint."""

    @contextmanager
    def open_page(url: str, *, width: int = 1320, height: int = 900, scheme: str = "light") -> Iterator[Visit]:
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height}, reduced_motion="reduce"
        )
        made = Visit(context.new_page())
        made.page.set_default_timeout(10_000)
        made.page.on("console", lambda m: made.complaints.append(m.text) if m.type in ("error", "warning") else None)
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.page.goto(url)
        yield made
        context.close()

    return open_page
