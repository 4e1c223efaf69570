"""The connection to a venue: which venues, which environment, and what is shown of it; no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cryptoai.core.errors import ConfigError
from cryptoai.execution.adapters.ccxt_errors import Outcome
from cryptoai.execution.adapters.ccxt_link import EXCHANGES, CallError, Link, Login

LOGIN = Login("KEY-THAT-IS-SECRET", "SECRET-THAT-IS-TOO", "WORD")
Links = Callable[..., Link]


@pytest.fixture
def link() -> Iterator[Links]:
    made: list[Link] = []

    def make(*args: Any, **more: Any) -> Link:
        made.append(Link(*args, LOGIN, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("venue", sorted(EXCHANGES))
def test_every_venue_has_a_client_that_speaks_in_text(link: Links, venue: str) -> None:
    """Of ccxt's exchange and default type, with exact numbers, and nothing of the keys in what is shown."""
    made = link(venue)
    exchange, kind = EXCHANGES[venue]
    assert (made.client.id, made.client.options["defaultType"], made.client.number) == (exchange, kind, str)
    shown = f"{made!r} {made.scrub!r} {LOGIN!r} {made.client}"
    assert not any(secret in shown for secret in (LOGIN.key, LOGIN.secret, LOGIN.password))


def test_an_unknown_venue_is_named(link: Links) -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match="binance_usdm"):
        link("nowhere")


@pytest.mark.parametrize(
    ("venue", "word"),
    [("binance_usdm", "demo"), ("binance_spot", "demo"), ("bybit_linear", "demo")],
)
def test_the_sandbox_has_other_addresses(link: Links, venue: str, word: str) -> None:
    """No address that an order could go to is that of the real venue."""
    real, sandbox = link(venue).client.urls["api"], link(venue, sandbox=True).client.urls["api"]
    assert sandbox != real
    assert word in str(sandbox)


@pytest.mark.parametrize("venue", ["kraken", "coinbase"])
def test_a_venue_without_a_sandbox_says_so(link: Links, venue: str) -> None:
    """Rather than trade for real."""
    with pytest.raises(ConfigError, match="no test environment"):
        link(venue, sandbox=True)


def test_a_closed_link_answers_nothing(link: Links) -> None:
    """A call on it is refused, and closing again changes nothing."""
    made = link("binance_usdm")
    made.close()
    made.close()
    with pytest.raises(CallError) as refused:
        made.call(made.client.load_markets)
    assert refused.value.result is Outcome.REFUSED


def test_a_call_that_the_client_cancels_is_unknown(link: Links) -> None:
    """Rather than end whoever asked."""
    made = link("binance_usdm")

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CallError, match="cancelled") as failed:
        made.call(cancelled)
    assert failed.value.result is Outcome.UNKNOWN


def test_what_a_call_raises_has_a_meaning(link: Links) -> None:
    """Any exception becomes an outcome without its cause, a late answer is unknown."""
    made = link("binance_usdm", timeout_s=0.1)

    async def fails() -> None:
        raise RuntimeError(f"something with {LOGIN.secret}")

    with pytest.raises(CallError) as failed:
        made.call(fails)
    assert failed.value.result is Outcome.UNKNOWN
    assert LOGIN.secret not in str(failed.value)
    assert failed.value.__cause__ is None
