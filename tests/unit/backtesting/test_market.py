"""The tape as a market: quotes and states of what was known, and nothing later."""

from collections.abc import Callable

import pytest

from cryptoai.backtesting.market import Feed, TapeMarket, schedule
from cryptoai.core.clock import MS
from cryptoai.core.config import FeaturesConfig
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import AccountView
from cryptoai.core.money import Money
from cryptoai.data_universe import schema
from cryptoai.data_universe.events import ASK, BID, GAP, LEVEL, TRADE, EventArray
from cryptoai.data_universe.packed import limits

LATER = [
    (10, LEVEL, ASK, 101, 7),
    (20, TRADE, 1, 101, 5),
    (30, LEVEL, BID, 101, 9),
    (40, GAP, 0, 0, 0),
]


@pytest.fixture
def market(make_events: Callable[..., EventArray], make_instrument: Callable[..., Instrument]) -> TapeMarket:
    """A small book whose ask improves, that is traded, that crosses and that is lost; each is known 2 ns later."""
    return TapeMarket((Feed(make_instrument(), make_events(LATER, delay=2)),), 0.1, limits(FeaturesConfig()))


def test_a_quote_is_what_was_known_and_carries_the_age_of_the_book(market: TapeMarket) -> None:
    """The ask of 10 is known at 12; a trade at 20 makes the quote no younger."""
    market.advance(11)
    first = market.quote("test:XUSD")
    market.advance(25)
    second = market.quote("test:XUSD")
    assert first is not None
    assert second is not None
    assert (float(first.bid), float(first.ask), float(first.ask_size), first.known_at) == (50.0, 51.0, 3.0, 2)
    assert (float(second.ask), float(second.ask_size), second.event_time, second.known_at) == (50.5, 0.7, 10, 12)


@pytest.mark.parametrize("now", [1, 33, 43])
def test_there_is_no_quote_before_the_book_while_it_is_crossed_or_after_a_gap(market: TapeMarket, now: int) -> None:
    """An unknown or impossible book has no price."""
    market.advance(now)
    assert market.quote("test:XUSD") is None


def test_a_state_has_the_schema_and_the_portfolio(market: TapeMarket) -> None:
    """200 features at the asked time, the flat portfolio's share of the budget present and zero."""
    market.advance(25)
    zero = Money(1000)
    account = AccountView(
        time=25,
        equity=zero,
        peak_equity=zero,
        cash=zero,
        positions={},
        entry_prices={},
        open_orders=0,
        last_fill_time=0,
    )
    state = market.state("test:XUSD", 25, account)
    share = schema.index("position_share")
    assert (state.width, state.known_at, state.schema_hash) == (200, 25, schema.SCHEMA_HASH)
    assert (state.present()[share], state.floats()[share]) == (True, 0.0)


def test_a_delayed_feed_is_seen_later_whatever_was_read_meanwhile(
    make_events: Callable[..., EventArray], make_instrument: Callable[..., Instrument]
) -> None:
    """The ask of 10, known at 12, shows at 17 with a delay of 5, and the age of the book says so."""
    late = TapeMarket((Feed(make_instrument(), make_events(LATER, delay=2)),), 0.1, limits(FeaturesConfig()), 5)
    asks = []
    for now in range(8, 20):
        late.advance(now)
        late.row("test:XUSD", now)
        quote = late.quote("test:XUSD")
        assert quote is not None
        asks.append((float(quote.ask), quote.known_at))
    assert asks == [(51.0, 7)] * 9 + [(50.5, 17)] * 3


def test_an_instrument_without_a_tape_is_named(market: TapeMarket) -> None:
    """The error says what there is."""
    with pytest.raises(DataError, match=r"no tape of test:YUSD; there is test:XUSD"):
        market.quote("test:YUSD")


def test_the_schedule_is_a_grid_from_the_start_to_the_stop() -> None:
    """Both ends included where the length is a multiple of the interval."""
    assert list(schedule(5, 5 + 3 * MS, 1)) == [5, 5 + MS, 5 + 2 * MS, 5 + 3 * MS]
    assert list(schedule(0, MS - 1, 1)) == [0]
