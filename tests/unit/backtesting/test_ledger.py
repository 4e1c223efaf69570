"""The ledger, cost attribution and round trips, on a journal written by hand."""

from decimal import Decimal
from typing import Any

import pytest

from cryptoai.backtesting.costs import attribute, round_trips, trading
from cryptoai.backtesting.ledger import Ledger, read_ledger
from cryptoai.backtesting.touch import Touch
from cryptoai.core.errors import DataError
from cryptoai.core.journal import GENESIS, Record, encode
from cryptoai.core.messages import (
    Equity,
    Fill,
    Funding,
    Liquidation,
    OrderKind,
    OrderRequest,
    OrderStatus,
    OrderUpdate,
    Side,
    Verdict,
)
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.execution import kinds

NAME = "test:XUSD"


def _equity(time: int, cash: str, held: str, mark: str, fees: str) -> Equity:
    worth = Price(mark) * Quantity(held)
    return Equity(
        time=time,
        cash=Money(cash),
        fees=Money(fees),
        funding=Money(0),
        positions={NAME: Quantity(held)} if held != "0" else {},
        marks={NAME: Price(mark)},
        equity=Money(cash) + worth,
    )


def _fill(order: str, side: Side, price: str, quantity: str, fee: str, time: int) -> Fill:
    return Fill(
        client_order_id=order,
        fill_id=f"{order}-1",
        instrument=NAME,
        side=side,
        price=Price(price),
        quantity=Quantity(quantity),
        fee=Money(fee),
        maker=False,
        event_time=time,
        known_at=time,
    )


def _order(order: str, side: Side, quantity: str, time: int) -> OrderRequest:
    return OrderRequest(
        client_order_id=order,
        decision=0,
        time=time,
        instrument=NAME,
        side=side,
        kind=OrderKind.MARKET,
        quantity=Quantity(quantity),
        price=None,
    )


def _decision(number: int) -> dict[str, Any]:
    return {"decision": number, "instrument": NAME, "state_hash": "", "proposal": {}, "inference": None, "safe": None}


def _verdict(number: int, time: int, wanted: str) -> dict[str, Any]:
    zero = Quantity.zero()
    return Verdict(
        decision=number,
        time=time,
        instrument=NAME,
        current=zero,
        proposed=Quantity(wanted),
        approved=Quantity(wanted),
        bounds=(),
        order=None,
    ).body()


def _records() -> list[Record]:
    """Buys 2 at 101 while mid is 100, sells them at 109 while mid is 110; fees 1 each; initial 1000."""
    story: list[tuple[str, int, dict[str, Any]]] = [
        (kinds.EQUITY, 10, _equity(10, "1000", "0", "100", "0").body()),
        (kinds.DECISION, 10, _decision(0)),
        (kinds.VERDICT, 10, _verdict(0, 10, "2")),
        (kinds.ORDER, 10, _order("a", Side.BUY, "2", 10).body()),
        (kinds.FILL, 20, _fill("a", Side.BUY, "101", "2", "1", 15).body()),
        (kinds.EQUITY, 20, _equity(20, "797", "2", "110", "1").body()),
        (kinds.DECISION, 20, _decision(1) | {"safe": "model unavailable"}),
        (kinds.VERDICT, 20, _verdict(1, 20, "0")),
        (kinds.ORDER, 20, _order("b", Side.SELL, "2", 20).body()),
        (kinds.ORDER, 20, _order("c", Side.SELL, "2", 20).body()),
        (kinds.UPDATE, 30, _rejected("c").body()),
        (kinds.FILL, 30, _fill("b", Side.SELL, "109", "2", "1", 25).body()),
        (kinds.EQUITY, 30, _equity(30, "1014", "0", "112", "2").body()),
        (kinds.END, 30, {"decisions": 2, "fills": 2}),
    ]
    return _chained(story)


def _forced_story() -> list[tuple[str, int, dict[str, Any]]]:
    """Buys 2 at 101, pays 5 of funding, is sold out at 80 for a fee of 3."""
    paid = Funding(
        instrument=NAME,
        share=Decimal("-0.025"),
        mark=Price("100"),
        position=Quantity("2"),
        amount=Money("-5"),
        event_time=16,
        known_at=18,
    )
    forced = Liquidation(
        instrument=NAME,
        side=Side.SELL,
        price=Price("80"),
        quantity=Quantity("2"),
        fee=Money("3"),
        event_time=25,
        known_at=30,
        reason="below maintenance",
    )
    last = _equity(30, "949", "0", "80", "4").body() | {"funding": "-5"}
    return [
        (kinds.EQUITY, 10, _equity(10, "1000", "0", "100", "0").body()),
        (kinds.DECISION, 10, _decision(0)),
        (kinds.VERDICT, 10, _verdict(0, 10, "2")),
        (kinds.ORDER, 10, _order("a", Side.BUY, "2", 10).body()),
        (kinds.FILL, 15, _fill("a", Side.BUY, "101", "2", "1", 15).body()),
        (kinds.FUNDING, 18, paid.body()),
        (kinds.LIQUIDATION, 30, forced.body()),
        (kinds.EQUITY, 30, last),
        (kinds.END, 30, {"decisions": 1, "fills": 1}),
    ]


def _chained(story: list[tuple[str, int, dict[str, Any]]]) -> list[Record]:
    prev, made = GENESIS, []
    for seq, (kind, time, body) in enumerate(story):
        record, _ = encode(seq, time, kind, body, prev)
        made.append(record)
        prev = record.sum
    return made


def _rejected(order: str) -> OrderUpdate:
    return OrderUpdate(
        client_order_id=order, instrument=NAME, status=OrderStatus.REJECTED, event_time=25, known_at=30, reason="no"
    )


@pytest.fixture
def ledger() -> Ledger:
    """One winning round trip."""
    return read_ledger(_records())


def test_the_ledger_samples_decisions_and_the_end(ledger: Ledger) -> None:
    """Equity, marks, positions and wanted positions at the decision times and at the end."""
    assert ledger.times.tolist() == [10, 20, 30]
    assert ledger.equity.tolist() == [1000.0, 1017.0, 1014.0]
    assert ledger.marks[NAME].tolist() == [100.0, 110.0, 112.0]
    assert ledger.positions[NAME].tolist() == [0.0, 2.0, 0.0]
    assert ledger.wanted[NAME].tolist() == [2.0, 0.0]


def test_the_ledger_counts_outcomes_and_safe_actions(ledger: Ledger) -> None:
    """Two orders were filled whole without an update that says so, one was rejected."""
    assert (ledger.orders, ledger.safe, ledger.decisions) == (3, 1, 2)
    assert ledger.outcomes == {"filled": 2, "rejected": 1}


def test_costs_split_the_profit_exactly(ledger: Ledger) -> None:
    """Net 14 = 20 at decision mids, less 2 + 2 of spread, less fees of 2."""
    costs = attribute(ledger)
    assert (costs.gross, costs.slippage, costs.fees, costs.net) == (20.0, 4.0, 2.0, 14.0)


def test_costs_are_followed_from_the_decision_over_the_touch_to_the_price(ledger: Ledger) -> None:
    """Bought 2 at 101: decided at mid 100, the book at the fill 100.4 / 100.8; sold 2 at 109 in 108.5 / 109.5."""
    bought, sold = ledger.fills
    around = {
        id(bought): Touch(Price("100.4"), Price("100.8")),
        id(sold): Touch(Price("108.5"), Price("109.5")),
    }
    costs = attribute(ledger, (), around)
    assert costs.slippage == Decimal("1.2") + Decimal("2.0")
    assert costs.spread == Decimal("0.4") + Decimal("1.0")
    assert costs.impact == Decimal("0.4") + Decimal("-1.0")
    assert costs.net == costs.gross - costs.slippage - costs.spread - costs.impact - costs.fees + costs.funding


def test_payments_and_liquidations_are_read_and_counted() -> None:
    """A funding payment and a forced sale: both in the ledger, the sale in trades, its fee among the fees."""
    ledger = read_ledger(_chained(_forced_story()))
    assert [payment.cause for payment in ledger.funding] == ["funding"]
    assert [type(trade).__name__ for trade in ledger.trades] == ["Fill", "Liquidation"]
    costs = attribute(ledger)
    assert (costs.funding, costs.liquidation_fees, costs.fees) == (-5, 3, 4)
    assert costs.net == costs.gross - costs.slippage - costs.spread - costs.impact - costs.fees + costs.funding
    (trip,) = round_trips(ledger.trades)
    assert trip.profit == pytest.approx(2 * (80 - 101) - 4)


def test_the_forecast_of_the_shortest_horizon_is_read_by_probability() -> None:
    """Keys of a journal are in the order of the alphabet, not of time."""
    story = _forced_story()
    inference = {"return_bps": {"16s": 1.0, "1s": 0.1}, "quantiles_bps": {"p95": 2.0, "p05": -2.0, "0.5": 0.5}}
    story[1][2]["inference"] = inference
    (forecast,) = read_ledger(_chained(story)).forecasts
    assert (forecast.time, forecast.horizon_ns) == (10, 1_000_000_000)
    assert list(forecast.quantiles.items()) == [(0.05, -2.0), (0.5, 0.5), (0.95, 2.0)]


def test_trading_figures_of_one_winning_round_trip(ledger: Ledger) -> None:
    """420 traded over a mean equity of 1010.33; in the market for one sample of three."""
    done = trading(ledger, 0.5)
    assert done.turnover == pytest.approx(420 / (3031 / 3))
    assert (done.round_trips, done.hit_rate, done.profit_factor, done.maker_share) == (1, 1.0, None, 0.0)
    assert done.in_market == pytest.approx(1 / 3)
    assert done.exposure == pytest.approx(220 / (0.5 * 1017) / 3)


def test_a_fill_through_zero_closes_one_round_trip_and_opens_another() -> None:
    """Long 1 at 100, sell 3 at 110, buy 2 at 105: +10 and +10, the middle fee split by quantity."""
    fills = [
        _fill("a", Side.BUY, "100", "1", "0", 1),
        _fill("b", Side.SELL, "110", "3", "3", 2),
        _fill("c", Side.BUY, "105", "2", "0", 3),
    ]
    trips = round_trips(fills)
    assert [(t.start_ns, t.end_ns) for t in trips] == [(1, 2), (2, 3)]
    assert [t.profit for t in trips] == pytest.approx([9.0, 8.0])


def test_a_journal_without_two_decisions_has_nothing_to_report() -> None:
    """One sample makes no curve."""
    with pytest.raises(DataError, match="nothing to report"):
        read_ledger(_records()[:2])
