"""The local exchange with a small market, stepped by the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cryptoai.testing.exchange.small import Bench, bench


@pytest.fixture
def market() -> Iterator[Bench]:
    with bench() as made:
        yield made
