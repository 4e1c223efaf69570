"""One replay, whatever for: kernel, simulated venue and tape wired together and stepped as fast as it can.

`cryptoai backtest` and the shadow replay call it; they differ in the model (in process or behind the server), the
journal and the pace of `on_step`. Same tapes, seed, configuration and bundle give a byte-identical journal. It must
never read the wall clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.ledger import Ledger, read_ledger
from cryptoai.backtesting.market import Feed, TapeMarket, schedule
from cryptoai.backtesting.venue import SimVenue
from cryptoai.backtesting.windows import Window
from cryptoai.core.clock import MS, ReplayClock
from cryptoai.core.config import Config
from cryptoai.core.errors import DataError
from cryptoai.core.journal import GENESIS, Journal, Record, encode
from cryptoai.core.money import Money
from cryptoai.data_universe.packed import limits
from cryptoai.data_universe.schema import SCHEMA_HASH
from cryptoai.execution.kernel import Kernel
from cryptoai.execution.ports import JournalSink, Market, Model
from cryptoai.risk_engine.kill_switch import KillSwitch

__all__ = ["BacktestResult", "MemoryJournal", "Replay", "grid", "replay_into", "run_backtest"]

OnStep = Callable[[int, Kernel], None]


@dataclass(frozen=True, slots=True)
class Replay:
    """What to replay: the tapes, the window of them that is traded, and who decides. `revision` is the bundle's.

    `through` wraps the market that the kernel sees: a bot takes its states through a feature store with it.
    """

    config: Config
    feeds: tuple[Feed, ...]
    window: Window
    model: Model
    revision: str
    bot: str = "backtest"
    model_name: str = "model"
    through: Callable[[TapeMarket], Market] | None = None

    @property
    def assumed(self) -> Assumptions:
        """What the simulation assumes, for the venue and for the reports' banner."""
        return Assumptions.of(self.config)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What a replay left; `journal` is None if it was kept in memory only."""

    replay: Replay
    journal: Path | None
    ledger: Ledger


class MemoryJournal:
    """A journal that keeps its records, and hands each to a real journal first if there is one."""

    def __init__(self, below: JournalSink | None = None) -> None:
        self.records: list[Record] = []
        self._below = below

    def append(self, kind: str, time: int, body: dict[str, Any]) -> Record:
        """The record, chained like one on disk."""
        if self._below is not None:
            record = self._below.append(kind, time, body)
        else:
            prev = self.records[-1].sum if self.records else GENESIS
            record, _ = encode(len(self.records), time, kind, body, prev)
        self.records.append(record)
        return record


def run_backtest(
    replay: Replay,
    *,
    journal_path: Path | None = None,
    durable: bool = False,
    kill_switch: KillSwitch | None = None,
    on_step: OnStep | None = None,
) -> BacktestResult:
    """Replays the window through the kernel; the tape before the window only warms books and features up.

    `on_step(now_ns, kernel)` is called after every step (progress, pace, early end by raising). `durable` syncs each
    record to disk. DataError if the journal exists already: a replay is a whole story.
    """
    if journal_path is not None and journal_path.exists() and journal_path.stat().st_size:
        raise DataError(f"journal {journal_path} exists already; a replay needs a new one")
    disk = Journal(journal_path, durable=durable) if journal_path is not None else None
    try:
        sink = MemoryJournal(disk)
        replay_into(replay, sink, kill_switch=kill_switch, on_step=on_step)
    finally:
        if disk is not None:
            disk.close()
    return BacktestResult(replay, journal_path, read_ledger(sink.records))


def replay_into(
    replay: Replay, sink: JournalSink, *, kill_switch: KillSwitch | None = None, on_step: OnStep | None = None
) -> None:
    """The replay itself: everything that happens goes into `sink`, nothing is read back."""
    _step_through(_kernel(replay, sink, kill_switch or KillSwitch()), grid(replay), on_step)


def grid(replay: Replay) -> range:
    """The decision times of a replay; DataError if there are fewer than two."""
    times = schedule(replay.window.start, replay.window.stop, replay.config.execution.decision_interval_ms)
    if len(times) < 2:
        raise DataError("the window is shorter than one decision interval; widen it or lower decision_interval_ms")
    return times


def _kernel(replay: Replay, sink: JournalSink, kill_switch: KillSwitch) -> Kernel:
    config, feeds = replay.config, replay.feeds
    assume = replay.assumed
    delay = round(config.backtest.feed_latency_ms * MS)
    market = TapeMarket(feeds, config.risk.max_position_pct, limits(config.features), delay)
    return Kernel(
        bot=replay.bot,
        revision=replay.revision,
        instruments=tuple(feed.instrument for feed in feeds),
        config=config,
        market=replay.through(market) if replay.through is not None else market,
        venue=SimVenue(feeds, assume, Money(Decimal(str(config.execution.initial_cash)))),
        model=replay.model,
        journal=sink,
        kill_switch=kill_switch,
        schema_hash=SCHEMA_HASH,
        seed=config.training.seed,
    )


def _step_through(kernel: Kernel, times: range, on_step: OnStep | None) -> None:
    """Steps at every decision and wherever the kernel wants to be woken in between; ends at the last grid time."""
    clock, end = ReplayClock(times[0]), times[-1]
    while (now := clock.now_ns()) < end:
        kernel.step(now)
        if on_step is not None:
            on_step(now, kernel)
        clock.advance_to(min(max(kernel.wake(), now + 1), end))
    kernel.finish(end)
    if on_step is not None:
        on_step(end, kernel)
