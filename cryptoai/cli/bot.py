"""`cryptoai bot`: one bot in shadow or paper mode, on the part of the tape that its bundle never saw.

Its states go through the feature store, as in a cluster: the stream is pushed, the decision reads what was pushed. The
journal is durable. Live trading is refused here: it needs a venue, credentials and a human that this version does not
ask for. SIGINT and SIGTERM end a bot cleanly between two steps: what is open is cancelled and the journal is closed.

`cryptoai.cli.cluster` runs the same bot in a pod; both give the same decisions.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from cryptoai.backtesting.market import Feed, TapeMarket
from cryptoai.backtesting.run import Replay, grid, run_backtest
from cryptoai.cli.backtest import set_aside
from cryptoai.cli.children import Interrupted
from cryptoai.cli.console import err, progress
from cryptoai.cli.features import open_store
from cryptoai.cli.models import open_model
from cryptoai.cli.tapes import load_feeds, windows
from cryptoai.core.clock import SECOND
from cryptoai.core.config import Config
from cryptoai.core.errors import ConfigError
from cryptoai.core.messages import AccountView, Conditions, Quote
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.state import merge
from cryptoai.monitoring.state_log import StateLog
from cryptoai.risk_engine.kill_switch import KillSwitch

if TYPE_CHECKING:
    from cryptoai.data_universe.adapters.feast_store import FeastStore
    from cryptoai.execution.kernel import Kernel
    from cryptoai.execution.ports import Market, Model

__all__ = ["Bell", "Bot", "Stopping", "StoredMarket", "require_mode", "run_bot"]

_SLICE_S = 0.5


class StoredMarket:
    """`execution.ports.Market`: the tape, with each state taken through the feature store and logged for drift."""

    def __init__(self, tape: TapeMarket, store: FeastStore, log: StateLog) -> None:
        self._tape, self._store, self._log = tape, store, log
        self._pushed: set[str] = set()

    def advance(self, now_ns: int) -> None:
        self._tape.advance(now_ns)

    def quote(self, instrument: str) -> Quote | None:
        return self._tape.quote(instrument)

    def state(self, instrument: str, now_ns: int, account: AccountView) -> StateVector:
        """Pushes the fresh row, reads it back as the store has it, and adds the bot's own portfolio."""
        self._store.push_row(self._tape.row(instrument, now_ns), rewind=instrument not in self._pushed)
        self._pushed.add(instrument)
        state = merge(self._store.read(instrument, now_ns), self._tape.held(instrument, account))
        self._log.append(state)
        return state

    def conditions(self, state: StateVector) -> Conditions | None:
        return self._tape.conditions(state)


class Bell:
    """Ends the main thread's wait, from any thread or from a signal handler (which must not take a lock)."""

    def __init__(self) -> None:
        self._rung: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        self._rung.put(None)

    def wait(self, seconds: float) -> bool:
        """Whether it was rung; rings before the call count."""
        try:
            self._rung.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        with contextlib.suppress(queue.Empty):
            while True:
                self._rung.get_nowait()
        return True


class Stopping:
    """SIGINT and SIGTERM: they interrupt at once until `hold`, and are kept for `asked` from then on."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._held = False
        self.asked: Interrupted | None = None

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def hold(self) -> None:
        """A step must not be cut in two."""
        self._held = True

    def ask(self, why: str) -> None:
        self.asked = Interrupted(why)
        self._bell.ring()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        why = f"stopped by {signal.Signals(number).name}"
        if not self._held:
            raise Interrupted(why)
        self.ask(why)


class _Pace:
    """Holds a replay at `speed` times the recorded pace; 0 never waits. The bell ends a wait; `idle` runs in it."""

    def __init__(self, speed: float, bell: Bell, idle: Callable[[], None]) -> None:
        self._speed, self._bell, self._idle = speed, bell, idle
        self._started: tuple[float, int] | None = None

    def wait_until(self, now_ns: int) -> None:
        if not self._speed:
            return
        wall, first = self._started = self._started or (time.monotonic(), now_ns)
        due = wall + (now_ns - first) / SECOND / self._speed
        while (behind := due - time.monotonic()) > 0 and not self._bell.wait(min(behind, _SLICE_S)):
            self._idle()


@dataclass(frozen=True)
class Bot:
    """What a bot is made of, wherever it runs. `folder` receives journal.jsonl and states.f32."""

    config: Config
    name: str
    feeds: tuple[Feed, ...]
    model: Model
    revision: str
    store: FeastStore
    folder: Path
    kill_switch: KillSwitch

    def run(
        self,
        speed: float,
        bell: Bell,
        stopping: Stopping,
        through: Callable[[Market], Market] = lambda market: market,
        on_step: Callable[[int, Kernel], None] = lambda _now, _kernel: None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        """To the end of the tape; Interrupted if it was asked to stop, with the journal closed in both cases.

        A wait for the recorded pace ends when the bell rings, and the next step then obeys the kill switch. `through`
        wraps what the kernel sees of the market; `idle` is called at least twice a second during a wait.
        """
        window, pace = windows(self.config, self.feeds).test, _Pace(speed, bell, idle)
        journal, mode = self.folder / "journal.jsonl", self.config.execution.mode
        set_aside(journal)
        states = self.folder / "states.f32"
        states.unlink(missing_ok=True)  # statistics of the earlier run; its journal is the one that is kept
        log = StateLog(states, schema.SCHEMA_HASH, schema.WIDTH)
        with log, progress(f"{mode} bot") as advance:
            replay = Replay(
                *(self.config, self.feeds, window, self.model, self.revision, self.name),
                through=lambda tape: through(StoredMarket(tape, self.store, log)),
            )

            last = grid(replay)[-1]

            def after_step(now: int, kernel: Kernel) -> None:
                advance(now - window.start, window.stop - window.start, f"{kernel.decisions} decisions")
                on_step(now, kernel)
                if stopping.asked is None:
                    pace.wait_until(now)
                if stopping.asked is not None and now < last:
                    kernel.finish(now)
                    raise stopping.asked

            stopping.hold()
            run_backtest(replay, journal_path=journal, durable=True, kill_switch=self.kill_switch, on_step=after_step)


def require_mode(config: Config, speed: float) -> str:
    """The mode of a bot that this version runs; ConfigError otherwise."""
    mode = config.execution.mode
    if mode not in ("shadow", "paper"):
        raise ConfigError(f"execution.mode = {mode!r}: a bot runs in shadow or paper; backtests have their own command")
    if speed < 0:
        raise ConfigError(f"--speed {speed}: give 0 for as fast as possible, or a positive factor")
    return mode


def run_bot(
    config: Config, assets: Sequence[str], model: str | None, folder: Path, *, speed: float, name: str | None = None
) -> int:
    """Runs the bot to the end of the tape; writes journal.jsonl, states.f32 and kill_switch.json into `folder`."""
    mode = require_mode(config, speed)
    bell = Bell()
    stopping = Stopping(bell)
    stopping.listen()
    feeds = load_feeds(config, assets)
    opened, revision = open_model(model, config)
    store = open_store(config)
    store.apply()
    err.print(f"{mode} bot on recorded data, revision {revision[:12]}; nothing is sent to any venue")
    switch = KillSwitch(folder / "kill_switch.json")
    bot = Bot(config, name or mode, feeds, opened, revision, store, folder, switch)
    try:
        bot.run(speed, bell, stopping)
    except Interrupted as stop:
        err.print(f"{stop}; what was open is cancelled and the journal is closed")
        return stop.exit_code
    return 0
