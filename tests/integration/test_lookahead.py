"""The truncation check on the real tape: clean is clean, and a leak is found and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from cryptoai.backtesting.lookahead import check_lookahead
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.run import Replay
from cryptoai.backtesting.windows import Window
from cryptoai.core.clock import SECOND
from cryptoai.core.config import build
from cryptoai.core.messages import AccountView, Inference
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.market_microstructure.tape import read_capture
from cryptoai.execution.ports import Market
from cryptoai.testing.fakes import make_inference

REVISION = "r" * 32
NAME = "binance_usdm:BTCUSDT"


class Follower:
    """Trades on one number of the state."""

    def decide(self, history: Sequence[StateVector]) -> Inference:
        value = max(-1.0, min(1.0, history[-1].floats()[schema.index("trade_imbalance_1s")]))
        return make_inference(value, revision=REVISION, schema_hash=schema.SCHEMA_HASH, timing=0.2)


class Peeking:
    """A market whose imbalance is that of the price five seconds later: the mistake that the check is for."""

    def __init__(self, market: Any) -> None:
        self._market = market

    def __getattr__(self, name: str) -> Any:
        return getattr(self._market, name)

    def state(self, name: str, now_ns: int, account: AccountView) -> StateVector:
        state = self._market.state(name, now_ns, account)
        events = self._market._lines[name].feed.events
        later, now = (events.price[events.until(at) - 1] for at in (now_ns + 5 * SECOND, now_ns))
        values, mask = state.floats(), state.present()
        place = schema.index("trade_imbalance_1s")
        values[place], mask[place] = (1.0 if later > now else -1.0), True
        return StateVector.of(name, (state.event_time, state.known_at), state.schema_hash, values, mask)


@pytest.fixture(scope="module")
def events() -> EventArray:
    """The shipped perpetual capture, to a little after the window."""
    tape = files("cryptoai.testing").joinpath("tapes/binance_usdm_btcusdt_20240808.gz")
    whole = read_capture(Path(str(tape)), instrument(NAME)).events
    return whole.slice(0, whole.until(int(whole.known_at[0]) + 80 * SECOND))


@pytest.fixture
def replay(events: EventArray) -> Replay:
    """Fifteen seconds, two decisions a second."""
    start = int(events.known_at[0]) + 60 * SECOND
    return Replay(
        config=build({"execution": {"mode": "backtest", "decision_interval_ms": 500, "order_ttl_ms": 400}}),
        feeds=(Feed(instrument(NAME), events),),
        window=Window(start, start + 15 * SECOND),
        model=Follower(),
        revision=REVISION,
    )


def test_our_own_features_and_venue_know_no_future(replay: Replay) -> None:
    """Cut at three moments, nothing before them changes."""
    told: list[tuple[int, int]] = []
    assert check_lookahead(replay, cuts=3, on_cut=lambda *done: told.append(done)) == ()
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_leaking_feature_is_found_and_named(replay: Replay) -> None:
    """The cut takes the future away from it, so its value changes; no other feature is accused."""

    def through(market: Market) -> Market:
        return Peeking(market)

    leaks = check_lookahead(replace(replay, through=through), cuts=3)
    assert leaks
    assert all(leak.features == ("trade_imbalance_1s",) for leak in leaks)
    assert all(leak.time_ns < leak.cut_ns <= leak.time_ns + 6 * SECOND for leak in leaks)
    assert "trade_imbalance_1s" in str(leaks[0])


def test_a_venue_that_knows_the_future_is_found(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders filled from the end of the tape differ on a shorter one, though the states are the same."""
    from cryptoai.backtesting.exchange import Exchange

    real = Exchange.advance

    def to_the_end(self: Exchange, until_ns: int) -> None:
        real(self, until_ns + 3 * SECOND)

    monkeypatch.setattr(Exchange, "advance", to_the_end)
    leaks = check_lookahead(replay, cuts=3)
    assert leaks
    assert all(leak.features == () for leak in leaks)
