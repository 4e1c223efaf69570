"""A leak on purpose: one feature that shows which way the price goes within five seconds.

For proving that `lookahead.check_lookahead` finds leaks (`--plant-leak` and tests). Nothing that trades may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cryptoai.backtesting.market import Feed, TapeMarket
from cryptoai.core.clock import SECOND
from cryptoai.core.messages import AccountView, Conditions, Quote
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.events import TRADE, EventArray
from cryptoai.execution.ports import Market

__all__ = ["Planted"]


@dataclass(frozen=True, slots=True)
class Planted:
    """A market around another whose states peek at the tape that the inner market replays."""

    inner: Market
    tapes: dict[str, EventArray]

    FEATURE: ClassVar[str] = "trade_imbalance_1s"
    AHEAD_NS: ClassVar[int] = 5 * SECOND

    @classmethod
    def within(cls, feeds: Sequence[Feed]) -> Callable[[Market], Market]:
        """For `Replay.through`; a cut tape is peeked at as far as it goes."""

        def through(market: Market) -> Market:
            held = market.feeds if isinstance(market, TapeMarket) else feeds
            return cls(market, {feed.instrument.id: feed.events for feed in held})

        return through

    def advance(self, now_ns: int) -> None:
        """As the inner market."""
        self.inner.advance(now_ns)

    def quote(self, instrument: str) -> Quote | None:
        """As the inner market."""
        return self.inner.quote(instrument)

    def conditions(self, state: StateVector) -> Conditions | None:
        """As the inner market."""
        return self.inner.conditions(state)

    def state(self, instrument: str, now_ns: int, account: AccountView) -> StateVector:
        """The inner state with the future in one feature."""
        state = self.inner.state(instrument, now_ns, account)
        values, mask = state.floats(), state.present()
        place = schema.index(self.FEATURE)
        values[place], mask[place] = self._future(instrument, now_ns), True
        return StateVector.of(instrument, (state.event_time, state.known_at), state.schema_hash, values, mask)

    def _future(self, instrument: str, now_ns: int) -> float:
        """Last price within the next five seconds over the last one until now, in basis points of it."""
        tape = self.tapes[instrument]
        later, now = (_last_trade(tape, tape.until(at)) for at in (now_ns + self.AHEAD_NS, now_ns))
        return (later / now - 1) * 1e4 if now else 0.0


def _last_trade(tape: EventArray, until: int) -> float:
    """Price in ticks of the last trade among the first `until` rows, 0 without one."""
    start = max(0, until - 20_000)
    for place in range(until - 1, start - 1, -1):
        if tape.kind[place] == TRADE:
            return float(tape.price[place])
    return 0.0
