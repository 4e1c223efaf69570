"""The local exchange with a small market, stepped by the tests, and real ccxt to trade on it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from cryptoai.core.instruments import Instrument
from cryptoai.execution.adapters.ccxt_link import Link, Login
from cryptoai.execution.adapters.ccxt_venue import CcxtVenue, Terms
from cryptoai.testing.exchange.small import Bench, bench
from cryptoai.testing.feed_exchange import moved


def connect(
    made: Instrument, address: str, key: str, secret: str, *, timeout_s: float = 2.0, **terms: Any
) -> CcxtVenue:
    """A CcxtVenue that knows the local exchange's address for every one of ccxt's."""
    link = Link(made.venue, Login(key, secret), timeout_s=timeout_s, urls=lambda urls: moved(urls, address))
    return CcxtVenue(link, (made,), Terms(**terms))


@pytest.fixture
def open_bench() -> Callable[..., AbstractContextManager[Bench]]:
    """`bench` whose venues are of ccxt."""
    return functools.partial(bench, connect=connect)


@pytest.fixture
def market() -> Iterator[Bench]:
    with bench(connect=connect) as made:
        yield made
