from __future__ import annotations

import math
from decimal import Decimal

import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract
from cryptoai.core.messages import AccountView, Quote
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema, state
from cryptoai.data_universe.features import FeatureEngine
from cryptoai.testing.fakes import make_instrument

PERP = make_instrument()
NOW = 1_723_161_300 * SECOND


def account(qty: str, entry: str = "50000", *, equity: str = "90000", fill_age_s: int = 9) -> AccountView:
    held = qty != "0"
    return AccountView(
        time=NOW,
        equity=Money(equity),
        peak_equity=Money(100_000),
        cash=Money(45_000),
        positions={PERP.id: Quantity(qty)} if held else {},
        entry_prices={PERP.id: Price(entry)} if held else {},
        open_orders=2,
        last_fill_time=NOW - fill_age_s * SECOND if fill_age_s else 0,
    )


def quote(bid: str = "50999", ask: str = "51001") -> Quote:
    return Quote(
        instrument=PERP.id,
        event_time=NOW,
        known_at=NOW,
        bid=Price(bid),
        bid_size=Quantity(1),
        ask=Price(ask),
        ask_size=Quantity(1),
    )


def named(held: list[float]) -> dict[str, float]:
    return dict(zip(schema.NAMES[schema.group_slice("portfolio")], held, strict=True))


def test_the_portfolio_of_a_long_position_by_hand() -> None:
    """0.1 at 50,000 marked at 51,000 with equity 90,000 and a budget of 10 %."""
    numbers = named(state.portfolio(PERP, account("0.1"), quote(), 0.1))

    assert numbers == pytest.approx({
        "position_share": 5100 / 9000,
        "unrealised_return": 200.0,
        "unrealised_share": 1e4 * 100 / 90_000,
        "leverage_used": 5100 / 90_000,
        "drawdown": 0.1,
        "cash_share": 0.5,
        "open_orders": math.log(3),
        "fill_age": math.log(10),
    })  # fmt: skip


def test_a_short_position_has_the_opposite_sign_and_the_share_is_clipped() -> None:
    """Ten times the budget is -1, and a rising price loses."""
    numbers = named(state.portfolio(PERP, account("-10"), quote(), 0.1))

    assert numbers["position_share"] == -1.0
    assert numbers["unrealised_return"] == pytest.approx(-200.0)


def test_an_inverse_contract_counts_in_coin() -> None:
    """A thousand contracts of 100 quote at 51,000 are 1.96 coin of an equity in coin, and so is what they gained."""
    inverse = make_instrument(contract=Contract.INVERSE).model_copy(update={"contract_size": Decimal(100)})
    numbers = named(state.portfolio(inverse, account("1000", equity="50"), quote(), 0.1))

    assert numbers["position_share"] == pytest.approx(100_000 / 51_000 / 5)
    assert numbers["leverage_used"] == pytest.approx(100_000 / 51_000 / 50)
    gained = 100_000 * (1 / 50_000 - 1 / 51_000)
    assert numbers["unrealised_return"] == pytest.approx(1e4 * gained / 2)
    assert numbers["unrealised_share"] == pytest.approx(1e4 * gained / 50)


@pytest.mark.parametrize("missing", ["quote", "budget", "equity"])
def test_without_a_price_a_budget_or_equity_the_position_is_missing(missing: str) -> None:
    """Missing is masked; zero would say flat."""
    view = account("0.1", equity="0" if missing == "equity" else "90000")
    held = state.portfolio(PERP, view, None if missing == "quote" else quote(), 0.0 if missing == "budget" else 0.1)

    assert math.isnan(named(held)["position_share"])
    assert math.isfinite(named(held)["open_orders"])


def test_the_time_since_a_fill_is_missing_before_the_first() -> None:
    """Zero would say that something was filled just now."""
    assert math.isnan(named(state.portfolio(PERP, account("0", fill_age_s=0), quote(), 0.1))["fill_age"])


def test_before_any_event_only_the_registry_and_the_clock_are_known() -> None:
    """A fresh engine invents nothing."""
    made = state.build(FeatureEngine(PERP), NOW)
    known = {schema.FEATURES[place].source for place, bit in enumerate(made.present()) if bit}

    assert known == {"registry"}
    assert (made.known_at, made.event_time, made.schema_hash) == (NOW, 0, schema.SCHEMA_HASH)


def test_merging_the_portfolio_equals_building_with_it() -> None:
    """A state read from the store and completed is bit for bit the one built beside the engine."""
    held = state.portfolio(PERP, account("0.1"), quote(), 0.1)
    engine = FeatureEngine(PERP)

    assert state.merge(state.build(engine, NOW), held) == state.build(engine, NOW, held)


def test_a_state_of_another_schema_is_refused() -> None:
    """Columns of another meaning must not be filled."""
    alien = StateVector.of(PERP.id, (0, 0), "0" * 32, [0.0] * 200, [False] * 200)

    with pytest.raises(DataError, match="schema"):
        state.merge(alien, [0.0] * 8)
