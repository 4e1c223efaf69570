"""`cryptoai bot`: one bot in shadow or paper mode, on the part of the tape that its bundle never saw.

Its states go through the feature store, as in a cluster: the stream is pushed, the decision reads what was pushed. The
journal is durable. Live trading is refused here: it needs a venue, credentials and a human that this version does not
ask for. SIGINT and SIGTERM end a bot cleanly between two steps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cryptoai.backtesting.run import Replay, run_backtest
from cryptoai.cli.backtest import set_aside
from cryptoai.cli.children import Interrupted, stop_on_signals
from cryptoai.cli.console import err, progress
from cryptoai.cli.features import open_store
from cryptoai.cli.models import open_model
from cryptoai.cli.tapes import load_feeds, windows
from cryptoai.core.clock import SECOND
from cryptoai.core.config import Config
from cryptoai.core.errors import ConfigError
from cryptoai.core.messages import AccountView, Quote
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.state import merge
from cryptoai.monitoring.state_log import StateLog
from cryptoai.risk_engine.kill_switch import KillSwitch

if TYPE_CHECKING:
    from cryptoai.data_universe.adapters.feast_store import FeastStore
    from cryptoai.execution.kernel import Kernel
    from cryptoai.execution.ports import Market

__all__ = ["StoredMarket", "run_bot"]

_PORTFOLIO = schema.group_slice("portfolio")


class StoredMarket:
    """`execution.ports.Market`: the tape, with each state taken through the feature store and logged for drift."""

    def __init__(self, tape: Market, store: FeastStore, log: StateLog) -> None:
        self._tape, self._store, self._log = tape, store, log
        self._pushed: set[str] = set()

    def advance(self, now_ns: int) -> None:
        self._tape.advance(now_ns)

    def quote(self, instrument: str) -> Quote | None:
        return self._tape.quote(instrument)

    def state(self, instrument: str, now_ns: int, account: AccountView) -> StateVector:
        """Pushes the fresh state, reads it back as the store has it, and adds the bot's own portfolio."""
        fresh = self._tape.state(instrument, now_ns, account)
        self._store.push(fresh, rewind=instrument not in self._pushed)
        self._pushed.add(instrument)
        held = [v if p else float("nan") for v, p in zip(fresh.floats(), fresh.present(), strict=True)][_PORTFOLIO]
        state = merge(self._store.read(instrument, now_ns), held)
        self._log.append(state)
        return state


class _Pace:
    """Holds a replay at `speed` times the recorded pace; 0 never waits. A signal ends the wait."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._started: tuple[float, int] | None = None
        self._never = threading.Event()

    def wait_until(self, now_ns: int) -> None:
        if not self._speed:
            return
        wall, first = self._started = self._started or (time.monotonic(), now_ns)
        behind = (now_ns - first) / SECOND / self._speed - (time.monotonic() - wall)
        if behind > 0:
            self._never.wait(behind)


def run_bot(config: Config, assets: Sequence[str], model: str | None, folder: Path, *, speed: float) -> int:
    """Runs the bot to the end of the tape; writes journal.jsonl, states.f32 and kill_switch.json into `folder`."""
    mode = config.execution.mode
    if mode not in ("shadow", "paper"):
        raise ConfigError(f"execution.mode = {mode!r}: a bot runs in shadow or paper; backtests have their own command")
    if speed < 0:
        raise ConfigError(f"--speed {speed}: give 0 for as fast as possible, or a positive factor")
    stop_on_signals()
    feeds = load_feeds(config, assets)
    opened, revision = open_model(model, config)
    store = open_store(config)
    store.apply()
    window, pace = windows(config, feeds).test, _Pace(speed)
    journal = folder / "journal.jsonl"
    set_aside(journal)
    err.print(f"{mode} bot on recorded data, revision {revision[:12]}; nothing is sent to any venue")
    with StateLog(folder / "states.f32", schema.SCHEMA_HASH, schema.WIDTH) as log, progress(f"{mode} bot") as advance:
        replay = Replay(config, feeds, window, opened, revision, mode, through=lambda m: StoredMarket(m, store, log))

        def after_step(now: int, kernel: Kernel) -> None:
            advance(now - window.start, window.stop - window.start, f"{kernel.decisions} decisions")
            pace.wait_until(now)

        try:
            run_backtest(
                replay,
                journal_path=journal,
                durable=True,
                kill_switch=KillSwitch(folder / "kill_switch.json"),
                on_step=after_step,
            )
        except Interrupted as stop:
            err.print(f"{stop}; the journal is whole up to its last record")
            return stop.exit_code
    return 0
