"""The client's stream and the questions that mend it, in the connection's loop; what they find waits in an inbox.

`ccxt_venue` empties the inbox from the bot's thread. A stream that breaks is opened again, ever more slowly; every time
it is there again the venue asks for what may have been lost. It must never decide anything about an order.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cryptoai.execution.adapters.ccxt_calls import Listed, funding_since, lookup, open_orders, trades
from cryptoai.execution.adapters.ccxt_errors import Outcome
from cryptoai.execution.adapters.ccxt_link import CallError, Link

__all__ = ["Inbox", "Item", "Question", "UserStream"]

Kind = Literal["order", "trade", "missing", "funding", "connected", "lost", "recovered", "failed"]
Item = tuple[Kind, Any]

_FIRST_WAIT_S, _LONGEST_WAIT_S, _STUCK_S = 0.05, 10.0, 15.0


class Inbox:
    """Items from the loop for the bot's thread."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._news = threading.Condition()

    def put(self, kind: Kind, what: Any = None) -> None:
        with self._news:
            self._items.append((kind, what))
            self._news.notify_all()

    def drain(self) -> list[Item]:
        """Everything so far, oldest first."""
        with self._news:
            items = list(self._items)
            self._items.clear()
        return items

    def wait(self, seconds: float) -> bool:
        """Whether there is something, after at most so long."""
        with self._news:
            return self._news.wait_for(lambda: bool(self._items), seconds)


@dataclass(frozen=True, slots=True)
class Question:
    """What must be found out: orders as (our id, id at the venue, the venue's number if known, symbol), trades by
    symbol since a time (ms), funding since a time."""

    orders: tuple[tuple[str, str, str | None, str], ...]
    since: tuple[tuple[str, int], ...]
    funding: tuple[tuple[Listed, int], ...] = ()


class UserStream:
    """Watches the orders and trades of the account of a `Link`."""

    def __init__(self, link: Link, inbox: Inbox) -> None:
        self._link, self._inbox = link, inbox
        self._there: set[int] = set()
        link.client.on_stream = self._stream

    @property
    def connected(self) -> bool:
        """Whether a connection is there."""
        return bool(self._there)

    def start(self) -> None:
        """Listens until the link is closed."""
        client = self._link.client
        self._link.start(lambda: self._watch(client.watch_orders, "order"))
        self._link.start(lambda: self._watch(client.watch_my_trades, "trade"))

    def ask(self, question: Question) -> None:
        """Finds out, in the background; ends with `recovered` or `failed`."""
        self._link.start(lambda: self._answer(question))

    def run(self, what: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """A call whose answer nobody waits for; a failure is told."""
        self._link.start(lambda: self._attempt(what))

    # ------------------------------------------------------------------ inside

    def _stream(self, which: int, there: bool) -> None:
        if there:
            self._there.add(which)
            self._inbox.put("connected")
        elif which in self._there:
            self._there.discard(which)
            self._inbox.put("lost")

    async def _watch(self, watch: Callable[[], Coroutine[Any, Any, Any]], kind: Kind) -> None:
        wait = _FIRST_WAIT_S
        while not self._link.closed:
            try:
                rows = await self._next(watch)
            except CallError as error:
                self._inbox.put("failed", error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
                continue
            wait = _FIRST_WAIT_S
            for row in rows:
                self._inbox.put(kind, dict(row))

    async def _next(self, watch: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The next rows; CallError also where a stream that is not there does not come back by itself."""
        asked = asyncio.ensure_future(self._link.guarded(watch))
        try:
            while not asked.done():
                await asyncio.wait({asked}, timeout=_STUCK_S)
                if not asked.done() and not self.connected:
                    await self._link.client.close_ws_clients()
                    raise CallError(Outcome.UNKNOWN, f"the stream was not there for {_STUCK_S:g} s and is opened anew")
            return asked.result()
        finally:
            asked.cancel()

    async def _answer(self, question: Question) -> None:
        found = False
        try:
            await self._link.guarded(lambda: self._find_out(question))
            found = True
        except CallError as error:
            self._inbox.put("failed", error)
        finally:
            self._inbox.put("recovered", found)

    async def _find_out(self, question: Question) -> None:
        client, exchange = self._link.client, self._link.exchange
        waiting = await open_orders(client, sorted({symbol for *_, symbol in question.orders}))
        for order in waiting:
            self._inbox.put("order", order)
        there = {str(order.get("clientOrderId")) for order in waiting}
        for name, wire, number, symbol in question.orders:
            if wire in there:
                continue
            found = await lookup(client, exchange, symbol, wire, number)
            self._inbox.put("missing" if found is None else "order", name if found is None else found)
        for symbol, since_ms in question.since:
            for trade in await trades(client, symbol, since_ms):
                self._inbox.put("trade", trade)
        await self._payments(question.funding)

    async def _payments(self, asked: Sequence[tuple[Listed, int]]) -> None:
        for market, since_ms in asked:
            for payment in await funding_since(self._link.client, market, since_ms):
                self._inbox.put("funding", (market.made.id, payment))

    async def _attempt(self, what: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        try:
            await self._link.guarded(what)
        except CallError as error:
            self._inbox.put("failed", error)
