"""What the kernel needs from the outside world, as protocols: a market, a venue, a model and a journal.

The four modes differ only in what stands behind these (a tape or a feed, a simulated or a real venue, a local or a
remote model). Implementations live in backtesting, testing and the adapters; the kernel must never know which it has.
Every method is handed the time: none of them may read a clock for a decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cryptoai.core.journal import Record
from cryptoai.core.messages import (
    AccountView,
    Conditions,
    Fill,
    Funding,
    Inference,
    Liquidation,
    OrderRequest,
    OrderUpdate,
    Quote,
)
from cryptoai.core.money import Quantity
from cryptoai.core.state import StateVector
from cryptoai.risk_engine.approved import ApprovedOrder

__all__ = ["JournalSink", "Market", "Model", "Venue", "VenueEvent"]

VenueEvent = OrderUpdate | Fill | Funding | Liquidation
"""What a venue can say."""


class Market(Protocol):
    """What is known of the market, and nothing later than the time it was advanced to."""

    def advance(self, now_ns: int) -> None:
        """Takes in every fact with `known_at <= now_ns`; never called with an earlier time than before."""
        ...

    def quote(self, instrument: str) -> Quote | None:
        """The newest best bid and ask known, or None while the book is unknown (before the first, after a gap)."""
        ...

    def state(self, instrument: str, now_ns: int, account: AccountView) -> StateVector:
        """The state vector at `now_ns`; DataError if it cannot be made (the kernel then takes the safe action)."""
        ...

    def conditions(self, state: StateVector) -> Conditions | None:
        """Volatility, turnover, funding and events as `state` shows them; None if it shows nothing of the market."""
        ...


class Venue(Protocol):
    """Where orders go. It takes nothing but what the risk engine minted."""

    def submit(self, order: ApprovedOrder, now_ns: int) -> None:
        """Sends the order. VenueError: refused for good. TransientError: it may or may not have arrived.

        A second order with the same client order id is the same order and changes nothing.
        """
        ...

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        """Asks for a cancel; the answer comes through `poll`. Of a finished order it changes nothing.

        VenueError for an id that the venue does not know: this is how a lost order is looked up.
        """
        ...

    def poll(self, now_ns: int) -> Sequence[VenueEvent]:
        """Everything that became known since the last call and by `now_ns`, each once, in order of `known_at`."""
        ...

    def positions(self, now_ns: int) -> dict[str, Quantity]:
        """Signed position by instrument; an instrument that is absent is flat."""
        ...

    def open_orders(self, now_ns: int) -> list[OrderRequest]:
        """Orders that are not final at the venue; `quantity` is that of the whole order."""
        ...


class Model(Protocol):
    """What proposes. Deterministic for the same history and bundle."""

    def decide(self, history: Sequence[StateVector]) -> Inference:
        """The answer for the newest of `history` (oldest first); ModelUnavailableError if there is none in time."""
        ...


class JournalSink(Protocol):
    """Where records go; `core.journal.Journal` is one."""

    def append(self, kind: str, time: int, body: dict[str, Any]) -> Record:
        """Returns once the record is written; DataError if it could not be."""
        ...
