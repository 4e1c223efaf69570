"""Everything that a simulated result rests on, in one frozen object that says so in words.

`run.run_backtest` makes it from the configuration, the exchange, venue and baselines obey it, and every report prints
`banner()`: there is no assumption of the simulation that is not in it. A default must never be the lenient choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptoai.backtesting.latency import ConstantLatency, Latency, read_latency
from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import MS
from cryptoai.core.config import BacktestConfig, Config
from cryptoai.core.instruments import Contract, Instrument

__all__ = ["Assumptions"]

_QUEUES = {
    "fifo": "pessimistic: all that our price shows on arrival is ahead of us, trades and a smaller level shorten it",
    "power": "cancellations hit the part ahead of us with weight quantity^{power:g} (not the pessimistic bound)",
    "log": "cancellations hit the part ahead of us with weight log(1 + quantity) (not the pessimistic bound)",
    "touch": "none: whoever is touched is filled whole (optimistic; for comparison only)",
}


@dataclass(frozen=True, slots=True)
class Assumptions:
    """`rules` is the configuration's section; `latency` is the order's way there and back."""

    rules: BacktestConfig = field(default_factory=BacktestConfig)
    latency: Latency = field(default_factory=lambda: ConstantLatency(20 * MS, 20 * MS))

    @classmethod
    def of(cls, config: Config) -> Assumptions:
        """What the configuration says; reads `backtest.latency_file` if it names one."""
        if config.backtest.latency_file:
            return cls(config.backtest, read_latency(Path(config.backtest.latency_file)))
        one_way = round(config.execution.order_latency_ms * MS)
        return cls(config.backtest, ConstantLatency(one_way, one_way))

    def banner(self, feeds: Iterable[Feed] = ()) -> list[str]:
        """One `Topic: sentence` a line; with `feeds`, also the fees and what each instrument's tapes hold."""
        lines = [f"{topic}: {text}" for topic, text in (*self._orders(), *self._costs(), *self._margin())]
        return lines + [f"{feed.instrument.id}: {_fees(feed.instrument)}; {self._tapes(feed)}" for feed in feeds]

    def _orders(self) -> list[tuple[str, str]]:
        rules, feed = self.rules, self.rules.feed_latency_ms
        later = f"{feed:g} ms after the tape's known_at" if feed else "when the tape says that it was known"
        amend = "keeps" if rules.amend_keeps_queue else "loses"
        return [
            ("Market data", f"seen {later}"),
            ("Order latency", self.latency.describe()),
            ("Queue", _QUEUES[rules.queue].format(power=rules.queue_power)),
            ("Amending", f"a replacement at the same price and no larger {amend} its place in the queue"),
            ("Liquidity", "displayed quantity is taken once until the tape sets it anew; the market does not react"),
            ("Impact", self._impact()),
            ("Stops", "a reached stop or take-profit walks the book behind the trade or mark that reached it"),
            (
                "Venue rules",
                f"tick, step, smallest order, {rules.orders_per_10s} orders in 10 s, prices within "
                f"{rules.price_band_pct:.1%} of the mark",
            ),
            (
                "Candles",
                f"without a book: open, the extreme that hurts us, the other, close; {rules.candle_spread_bps:g} bps "
                f"to either side, {rules.candle_volume_share:.1%} of the volume at each; stops fill at that extreme",
            ),
        ]

    def _impact(self) -> str:
        if not self.rules.impact_bps:
            return "off: what the visible book cannot fill is cancelled"
        return (
            f"past the last visible level all of the rest pays {self.rules.impact_bps:g} bps x sqrt(rest / visible) "
            f"more (at least the range of a candle); half is forgotten in {self.rules.impact_half_life_s:g} s"
        )

    def _costs(self) -> list[tuple[str, str]]:
        short = f"borrowed at {self.rules.borrow_apr:.1%} a year" if self.rules.spot_short else "not possible"
        return [
            ("Fee tiers", "from the volume of this run alone, over 30 days"),
            (
                "Funding",
                "each payment of the tape, rate x position x mark; without a tape "
                f"{self.rules.funding_bps:g} bps every 8 h against us, long or short",
            ),
            ("Spot short", short),
        ]

    def _margin(self) -> list[tuple[str, str]]:
        rules = self.rules
        return [
            (
                "Margin",
                f"{rules.margin_mode}, leverage at most {rules.leverage:g}; the money is split equally among venues "
                "and never moved",
            ),
            (
                "Liquidation",
                "when equity at the mark is below maintenance: open orders go, the largest position steps down a "
                "bracket or closes by walking the book, never beyond the bankruptcy price; fee "
                f"{rules.liquidation_fee_pct:.2%}",
            ),
            ("Mark", f"its tape while fresh (60 s), else the mid, looked at every {rules.mark_interval_ms} ms"),
        ]

    def _tapes(self, feed: Feed) -> str:
        if feed.instrument.contract is Contract.SPOT:
            return "no funding"
        held = [f"{kind} from {'its tape' if feed.facts_of(kind) is not None else 'the fallback'}" for kind in _TAPES]
        return ", ".join(held) + (", fills from candles" if feed.bars is not None else "")


_TAPES = ("funding", "mark")


def _fees(made: Instrument) -> str:
    tiers = f" in {len(made.fee_tiers)} tiers" if made.fee_tiers else ""
    return f"maker {float(made.maker_fee) * 1e4:g} bps, taker {float(made.taker_fee) * 1e4:g} bps{tiers}"
