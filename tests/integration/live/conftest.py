"""The local exchange with a small market, stepped by the tests, and real ccxt to trade on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from cryptoai.core.instruments import Instrument
from cryptoai.execution.adapters.ccxt_limits import SharedLimiter
from cryptoai.execution.adapters.ccxt_link import Link, Login
from cryptoai.execution.adapters.ccxt_venue import CcxtVenue, Terms
from cryptoai.testing.exchange.small import Bench, bench
from cryptoai.testing.feed_exchange import moved


def connect(
    made: Instrument,
    address: str,
    key: str,
    secret: str,
    *,
    timeout_s: float = 5.0,
    limiter: SharedLimiter | None = None,
    **terms: Any,
) -> CcxtVenue:
    """A CcxtVenue that knows the local exchange's address for every one of ccxt's.

    The timeout holds from the first order on, so that a busy machine does not fail at the start.
    """
    budget = limiter or SharedLimiter(10_000, 100_000)
    link = Link(made.venue, Login(key, secret), limiter=budget, urls=lambda urls: moved(urls, address))
    venue = CcxtVenue(link, (made,), Terms(**terms))
    link.timeout_s, link.client.timeout = timeout_s, round(1000 * timeout_s)
    return venue


@pytest.fixture
def open_bench() -> Callable[..., AbstractContextManager[Bench]]:
    """`bench` whose venues are of ccxt."""
    return functools.partial(bench, connect=connect)


@pytest.fixture
def market() -> Iterator[Bench]:
    with bench(connect=connect) as made:
        yield made
