"""The simulated venue: the kernel's `Venue` port over recorded events, with latency in both directions.

Backtest and shadow replay use it. An order sent at t reaches the exchange at t + latency, in the exchange's own time;
its answer is known to us one latency after that. Whatever is asked at t is answered with the exchange as it was at
t - latency, because that is the newest answer that can be in hand. It takes nothing but what the risk engine minted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptoai.backtesting.exchange import Exchange
from cryptoai.backtesting.matching import exchange_order
from cryptoai.core.errors import DataError, InvariantError, VenueError
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import Fill, OrderRequest, OrderUpdate
from cryptoai.core.money import Quantity
from cryptoai.data_universe.events import EventArray
from cryptoai.risk_engine.approved import ApprovedOrder

__all__ = ["SimVenue"]


@dataclass(slots=True)
class _Line:
    """One instrument: its exchange and what is on the way there, as (arrival, request to place or id to cancel)."""

    exchange: Exchange
    sent: deque[tuple[int, OrderRequest | str]] = field(default_factory=deque)

    def advance(self, until_ns: int) -> None:
        while self.sent and self.sent[0][0] <= until_ns:
            arrival, what = self.sent.popleft()
            self.exchange.advance(arrival)
            if isinstance(what, str):
                self.exchange.cancel(what, arrival)
            else:
                self.exchange.place(what, arrival)
        self.exchange.advance(until_ns)


class SimVenue:
    """`execution.ports.Venue` over one event array per instrument; equal inputs give equal answers, ids included."""

    def __init__(self, tapes: Mapping[str, tuple[Instrument, EventArray]], latency_ns: int) -> None:
        """`tapes`: instrument id -> (instrument, its events); `latency_ns` is one way."""
        if latency_ns < 0:
            raise DataError(f"latency_ns is {latency_ns}; an order cannot arrive before it is sent")
        self._latency = latency_ns
        self._lines = {
            name: _Line(Exchange(made, events, exchange_order(events), latency_ns))
            for name, (made, events) in sorted(tapes.items())
        }
        self._known: dict[str, str] = {}

    def submit(self, order: ApprovedOrder, now_ns: int) -> None:
        """Sends the order; VenueError if its instrument has no tape. The same id again changes nothing."""
        if type(order) is not ApprovedOrder:
            raise InvariantError(f"a venue takes an ApprovedOrder, not {type(order).__name__}")
        request = order.request
        line = self._line(request.instrument)
        if request.client_order_id not in self._known:
            self._known[request.client_order_id] = request.instrument
            line.sent.append((now_ns + self._latency, request))

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        """Sends a cancel; VenueError for an id that was never submitted."""
        instrument = self._known.get(client_order_id)
        if instrument is None:
            raise VenueError(f"order {client_order_id} was never sent to this venue")
        self._line(instrument).sent.append((now_ns + self._latency, client_order_id))

    def poll(self, now_ns: int) -> list[OrderUpdate | Fill]:
        """Answers known by `now_ns`, in order of known_at, then instrument, then the exchange's own order."""
        self._advance(now_ns)
        said = [answer for line in self._lines.values() for answer in line.exchange.answers()]
        return sorted(said, key=lambda answer: answer.known_at)

    def positions(self, now_ns: int) -> dict[str, Quantity]:
        """Positions that are not flat."""
        self._advance(now_ns)
        held = {name: line.exchange.position for name, line in self._lines.items()}
        return {name: quantity for name, quantity in held.items() if quantity}

    def open_orders(self, now_ns: int) -> list[OrderRequest]:
        """Orders that rest in a book, by instrument, oldest first."""
        self._advance(now_ns)
        return [request for line in self._lines.values() for request in line.exchange.open_orders()]

    def _advance(self, now_ns: int) -> None:
        for line in self._lines.values():
            line.advance(now_ns - self._latency)

    def _line(self, instrument: str) -> _Line:
        if instrument not in self._lines:
            raise VenueError(f"the simulated venue has no tape of {instrument}; it has {', '.join(self._lines)}")
        return self._lines[instrument]
