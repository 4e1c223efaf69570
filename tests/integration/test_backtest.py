"""The real tape through kernel, judge, simulated venue and features: reproducible, exact, and blind to the future."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from cryptoai.backtesting.baselines import baselines
from cryptoai.backtesting.evaluate import NO_PROMISE, evaluate, result_lines, result_summary
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.report import write_report
from cryptoai.backtesting.run import Replay, run_backtest
from cryptoai.backtesting.windows import Window
from cryptoai.core.bundle import canonical_json
from cryptoai.core.clock import SECOND
from cryptoai.core.config import build
from cryptoai.core.errors import DataError
from cryptoai.core.journal import read_journal
from cryptoai.core.messages import Equity, Inference
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.market_microstructure.tape import read_capture
from cryptoai.execution import kinds
from cryptoai.testing.fakes import make_inference

REVISION = "r" * 32
LENGTH = 40


class Imbalance:
    """Follows one order-flow feature: a real, deterministic function of the real state."""

    _AT = schema.index("trade_imbalance_1s")

    def decide(self, history: Sequence[StateVector]) -> Inference:
        """Long where buyers were the aggressors of the last second."""
        value = max(-1.0, min(1.0, history[-1].floats()[self._AT]))
        return make_inference(value, revision=REVISION, schema_hash=schema.SCHEMA_HASH, timing=0.2)


@pytest.fixture(scope="module")
def events() -> EventArray:
    """The shipped perpetual capture."""
    with_tape = files("cryptoai.testing").joinpath("tapes/binance_usdm_btcusdt_20240808.gz")
    return read_capture(Path(str(with_tape)), instrument("binance_usdm:BTCUSDT")).events


def _replay(events: EventArray) -> Replay:
    start = int(events.known_at[0]) + 200 * SECOND
    return Replay(
        config=build({"execution": {"mode": "backtest", "decision_interval_ms": 500, "order_ttl_ms": 400}}),
        feeds=(Feed(instrument("binance_usdm:BTCUSDT"), events),),
        window=Window(start, start + LENGTH * SECOND),
        model=Imbalance(),
        revision=REVISION,
    )


def test_same_tape_seed_and_bundle_give_a_byte_identical_journal(events: EventArray, tmp_path: Path) -> None:
    """Two replays, one text; and something happened in it."""
    texts = []
    for name in ("one", "two"):
        result = run_backtest(_replay(events), journal_path=tmp_path / name)
        assert len(result.ledger.fills) > 5
        assert result.ledger.decisions == LENGTH * 2
        texts.append((tmp_path / name).read_bytes())
    assert texts[0] == texts[1]


def test_the_account_adds_up_at_every_record(events: EventArray, tmp_path: Path) -> None:
    """By the journal alone, to the last decimal: equity = cash + sum(quantity x mark), cash = initial - paid - fees."""
    run_backtest(_replay(events), journal_path=tmp_path / "journal")
    cash, held, seen = Decimal(100_000), Decimal(0), 0
    for record in read_journal(tmp_path / "journal"):
        if record.kind == kinds.FILL:
            signed, price, fee = _fill(record.body)
            cash, held = cash - signed * price - fee, held + signed
        elif record.kind == kinds.EQUITY:
            equity = Equity.model_validate(record.body)
            position = sum(q.value for q in equity.positions.values())
            worth = sum(q.value * equity.marks[name].value for name, q in equity.positions.items())
            assert (equity.cash.value, position, equity.equity.value) == (cash, held, cash + worth)
            seen += 1
    assert seen > LENGTH


def _fill(body: dict[str, str]) -> tuple[Decimal, Decimal, Decimal]:
    """(signed quantity, price, fee) of a fill's body."""
    sign = 1 if body["side"] == "buy" else -1
    return sign * Decimal(body["quantity"]), Decimal(body["price"]), Decimal(body["fee"])


def test_every_order_follows_a_verdict_and_a_state(events: EventArray, tmp_path: Path) -> None:
    """No order without the judge's word on the same decision, and no decision without a state hash."""
    run_backtest(_replay(events), journal_path=tmp_path / "journal")
    hashes: dict[int, str] = {}
    judged: dict[int, object] = {}
    orders = 0
    for record in read_journal(tmp_path / "journal"):
        if record.kind == kinds.DECISION:
            hashes[record.body["decision"]] = record.body["state_hash"]
        elif record.kind == kinds.VERDICT:
            judged[record.body["decision"]] = record.body["order"]
        elif record.kind == kinds.ORDER:
            orders += 1
            assert judged[record.body["decision"]] == record.body
            assert len(hashes[record.body["decision"]]) == 32
    assert orders > 5


class Leak(Imbalance):
    """A planted leak: trades on the price of five seconds later."""

    def __init__(self, events: EventArray) -> None:
        self._events = events

    def decide(self, history: Sequence[StateVector]) -> Inference:
        """Long if the last price known five seconds from now is above the one known now."""
        now = history[-1].known_at
        later, price = self._events.until(now + 5 * SECOND), self._events.price
        value = 1.0 if price[later - 1] > price[self._events.until(now) - 1] else -1.0
        return make_inference(value, revision=REVISION, schema_hash=schema.SCHEMA_HASH, timing=0.2)


def _perturbed(events: EventArray, time: int) -> EventArray:
    """Every price and quantity known later than `time` replaced."""
    late = np.arange(len(events)) >= events.until(time)
    price, qty = np.where(late, events.price + 700, events.price), np.where(late, events.qty * 2 + 1, events.qty)
    return replace(events, price=price, qty=qty)


def _histories(replay: Replay, time: int, folder: Path, *, leak: bool) -> list[tuple[list[str], list[str]]]:
    """Checksums of the records up to `time` and after it, on the real and on the perturbed tape."""
    found = []
    real = replay.feeds[0].events
    for name, events in (("real", real), ("changed", _perturbed(real, time))):
        model = Leak(events) if leak else replay.model
        run_backtest(
            replace(replay, model=model, feeds=(replace(replay.feeds[0], events=events),)), journal_path=folder / name
        )
        records = list(read_journal(folder / name))
        found.append(([r.sum for r in records if r.time <= time], [r.sum for r in records if r.time > time]))
    return found


def test_changing_the_future_changes_no_record_before_it(events: EventArray, tmp_path: Path) -> None:
    """Every event known later than t is replaced; the journal up to t stays bitwise equal, and differs afterwards."""
    replay = _replay(events)
    real, changed = _histories(replay, replay.window.start + LENGTH // 2 * SECOND, tmp_path, leak=False)
    assert real[0] == changed[0]
    assert len(real[0]) > LENGTH
    assert real[1] != changed[1]


def test_the_perturbation_finds_a_planted_leak(events: EventArray, tmp_path: Path) -> None:
    """A model that peeks five seconds ahead does not survive the comparison above."""
    replay = _replay(events)
    real, changed = _histories(replay, replay.window.start + LENGTH // 2 * SECOND, tmp_path, leak=True)
    assert real[0] != changed[0]


def test_holding_is_one_purchase_at_the_touch_marked_at_mid(events: EventArray) -> None:
    """Flat earns nothing; holding pays the taker fee once and then moves with the mid, in proportion to its budget."""
    result = run_backtest(_replay(events))
    flat, small, whole, target = baselines(result)
    mark = result.ledger.marks["binance_usdm:BTCUSDT"]
    assert flat.total_return == 0.0
    assert (small.fills, small.fees) == (1, pytest.approx(10_000 * 0.0005, rel=0.01))
    assert small.total_return == pytest.approx(0.1 * (mark[-1] / mark[0] - 1 - 0.0005), abs=2e-6)
    assert whole.total_return == pytest.approx(10 * small.total_return, rel=0.1)
    assert target.name == "volatility target"
    assert target.fees >= small.fees * 0.5


def test_costs_are_split_to_the_last_digit(events: EventArray) -> None:
    """Gross, reckoned alone from quantities and decision mids, less each cost is the change of the exact account."""
    found = evaluate(run_backtest(_replay(events)))
    ledger, costs = found.result.ledger, found.costs
    end = Decimal(repr(float(ledger.marks["binance_usdm:BTCUSDT"][-1])))
    gross = Decimal(0)
    for fill in ledger.fills:
        at = int(np.searchsorted(ledger.times, ledger.order_times[fill.client_order_id], side="right")) - 1
        mid = Decimal(repr(float(ledger.marks[fill.instrument][at])))
        gross += fill.signed.value * (end - mid)
    assert costs.gross == gross
    assert costs.net == gross - costs.spread - costs.slippage - costs.impact - costs.fees + costs.funding
    assert costs.spread != 0
    assert costs.slippage != 0
    # Orders of a tenth of what the touch shows never walk the book.
    assert costs.impact >= 0


def test_summary_lines_and_report_agree_and_stand_alone(events: EventArray, tmp_path: Path) -> None:
    """Ten lines that end with the warning, JSON-ready data, and a page that loads nothing from anywhere."""
    found = evaluate(run_backtest(_replay(events)))
    lines, summary = result_lines(found), result_summary(found)
    assert len(lines) == 10
    assert lines[-1] == NO_PROMISE
    assert canonical_json(summary)
    assert summary["net_return"] == pytest.approx(float(summary["final_equity"]) / 100_000 - 1)
    costs = summary["costs"]
    paid = sum(costs[name] for name in ("spread", "slippage", "impact", "fees"))
    assert costs["net"] == pytest.approx(costs["gross"] - paid + costs["funding"])
    write_report(tmp_path / "report.html", found)
    page = (tmp_path / "report.html").read_text()
    assert f"{summary['net_return']:+.3%}" in page
    for forbidden in ("<script", "src=", "@import", "http://", "https://"):
        assert forbidden not in page


def test_a_used_journal_and_an_empty_window_are_refused(events: EventArray, tmp_path: Path) -> None:
    """A replay is a whole story, and needs at least one interval."""
    (tmp_path / "old").write_text("something")
    with pytest.raises(DataError, match="exists already"):
        run_backtest(_replay(events), journal_path=tmp_path / "old")
    replay = _replay(events)
    with pytest.raises(DataError, match="shorter than one decision interval"):
        run_backtest(replace(replay, window=Window(replay.window.start, replay.window.start + 1)))
