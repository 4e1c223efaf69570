"""The one connection to a venue: a ccxt.pro client in an event loop of its own thread, asked from the bot's thread.

`ccxt_venue` is built on it. It knows keys and never shows them: every error leaves here as one of ours, with secrets
taken out and without ccxt's exception behind it, whose text may carry a signed address. Nothing is retried here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import ccxt.pro

from cryptoai.core.errors import ConfigError, TransientError
from cryptoai.execution.adapters.ccxt_errors import Outcome, Scrubber, outcome
from cryptoai.execution.adapters.ccxt_limits import SharedLimiter, limited

__all__ = ["EXCHANGES", "CallError", "Link", "Login"]

EXCHANGES: Mapping[str, tuple[str, str]] = {
    "binance_spot": ("binance", "spot"),
    "binance_usdm": ("binanceusdm", "swap"),
    "bybit": ("bybit", "swap"),
    "bybit_linear": ("bybit", "swap"),
    "bybit_spot": ("bybit", "spot"),
    "okx": ("okx", "swap"),
    "okx_spot": ("okx", "spot"),
    "kraken": ("kraken", "spot"),
    "kraken_spot": ("kraken", "spot"),
    "coinbase": ("coinbase", "spot"),
    "coinbase_spot": ("coinbase", "spot"),
}
"""(ccxt's exchange, its default type) by our venue."""

_QUIET = logging.getLogger("cryptoai.ccxt")
_QUIET.setLevel(logging.WARNING)
"""In place of ccxt's own logger, which writes keys and signed requests for whoever listens to DEBUG."""
_STOPPED = "the connection to the venue is closed"


@dataclass(frozen=True, slots=True)
class Login:
    """Keys of an account; nothing of it is ever shown."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    password: str = field(default="", repr=False)


class CallError(Exception):
    """A call that failed: what it means, and a sentence without secrets."""

    def __init__(self, result: Outcome, message: str) -> None:
        super().__init__(message)
        self.result = result


class _Heard:
    """Mixed into a ccxt.pro client: says when a stream is there and when it is gone."""

    on_stream: Callable[[int, bool], None] | None = None

    def on_connected(self, client: Any, message: Any = None) -> None:
        super().on_connected(client, message)  # type: ignore[misc]
        self._say(client, there=True)

    def on_error(self, client: Any, error: Exception) -> None:
        self._say(client, there=False)
        super().on_error(client, error)  # type: ignore[misc]

    def on_close(self, client: Any, error: Any) -> None:
        self._say(client, there=False)
        super().on_close(client, error)  # type: ignore[misc]

    def _say(self, client: Any, *, there: bool) -> None:
        """Which of the connections: an old one may end after a new one began."""
        if self.on_stream is not None:
            self.on_stream(id(client), there)


class Link:
    """`venue` is one of EXCHANGES. `sandbox` is the venue's test environment; `urls` replaces ccxt's addresses.

    ConfigError if the venue is unknown or has no test environment.
    """

    def __init__(
        self,
        venue: str,
        login: Login,
        *,
        sandbox: bool = False,
        timeout_s: float = 10.0,
        limiter: SharedLimiter | None = None,
        urls: Callable[[Any], Any] | None = None,
    ) -> None:
        if venue not in EXCHANGES:
            raise ConfigError(f"venue {venue!r} cannot be traded; the venues are {', '.join(EXCHANGES)}")
        self.venue, self.exchange, self.timeout_s = venue, EXCHANGES[venue][0], timeout_s
        self.scrub = Scrubber((login.key, login.secret, login.password))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"venue-{venue}", daemon=True)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        try:
            self.client = self._client(login, sandbox=sandbox, urls=urls)
        except ConfigError:
            self._loop.close()
            raise
        rate = 1000.0 / float(self.client.rateLimit)
        self.limiter = limiter or SharedLimiter(rate, 30 * rate)
        limited(self.client, self.limiter)
        self._thread.start()

    def __repr__(self) -> str:
        return f"Link({self.venue})"

    @property
    def closed(self) -> bool:
        return self._closed

    def call(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The result of a coroutine of the client, waited for; CallError says what its failure means."""
        if self._closed:
            raise CallError(Outcome.REFUSED, _STOPPED)
        waiting = asyncio.run_coroutine_threadsafe(self.guarded(work), self._loop)
        try:
            return waiting.result(self.timeout_s + 5)
        except TimeoutError:
            waiting.cancel()
            raise CallError(Outcome.UNKNOWN, f"no answer within {self.timeout_s:g} s") from None

    async def guarded(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The same inside the loop."""
        try:
            return await work()
        except TransientError as error:
            raise CallError(Outcome.LATER, str(error)) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed or (task is not None and task.cancelling()):
                raise
            failed = CallError(Outcome.UNKNOWN, "the client cancelled the call")
        except Exception as error:  # noqa: BLE001 - whatever a client raises is one of the outcomes
            failed = self._failed(error)
        raise failed

    def start(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Runs a coroutine in the loop, unattended; it must handle its own errors."""

        def begin() -> None:
            task = self._loop.create_task(work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        if not self._closed:
            self._loop.call_soon_threadsafe(begin)

    def close(self) -> None:
        """Ends the streams and the thread; a second call changes nothing."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(self.timeout_s + 5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(self.timeout_s)
        self._loop.close()

    async def _end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.close()

    def _client(self, login: Login, *, sandbox: bool, urls: Callable[[Any], Any] | None) -> Any:
        name, kind = EXCHANGES[self.venue]
        made = type(f"Heard{name}", (_Heard, getattr(ccxt.pro, name)), {})
        keys = {"apiKey": login.key, "secret": login.secret, "password": login.password}
        options: dict[str, Any] = {"defaultType": kind, "fetchCurrencies": False, "fetchMargins": False}
        if name == "binance":
            options["fetchMarkets"] = {"types": ["spot"]}
        options["watchPositions"] = {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False}
        settings = {"newUpdates": True, "timeout": int(self.timeout_s * 1000), "options": options}
        client = made({**{k: v for k, v in keys.items() if v}, **settings, "asyncio_loop": self._loop})
        client.number, client.logger = str, _QUIET
        client.has["fetchCurrencies"] = False
        if sandbox:
            self._sandbox(client)
        if urls is not None:
            client.urls["api"] = urls(client.urls["api"])
        return client

    def _sandbox(self, client: Any) -> None:
        """Binance's and Bybit's demo trading where they have it, else the venue's test network."""
        try:
            if self.exchange in ("binance", "binanceusdm", "bybit"):
                client.enable_demo_trading(True)
            else:
                client.set_sandbox_mode(True)
        except Exception as error:  # noqa: BLE001 - ccxt raises several kinds
            raise ConfigError(f"venue {self.venue} has no test environment: {self.scrub.clean(error)}") from None

    def _failed(self, error: Exception) -> CallError:
        result = outcome(error)
        if result is Outcome.LATER and isinstance(error, ccxt.DDoSProtection):
            self.limiter.pause(self._retry_after())
        return CallError(result, f"{type(error).__name__}: {self.scrub.clean(error)}")

    def _retry_after(self) -> float:
        headers = self.client.last_response_headers or {}
        told = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
        return float(told) if str(told).isdigit() else 10.0
