"""What the tests of the core share: one perpetual, as its venue describes it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cryptoai.core.instruments import Contract, Instrument


@pytest.fixture(scope="session")
def perp() -> Callable[..., Instrument]:
    """Makes it; keywords change its fields."""

    def make(**changes: Any) -> Instrument:
        fields: dict[str, Any] = {
            "id": "binance_usdm:BTCUSDT",
            "base": "BTC",
            "quote": "USDT",
            "contract": Contract.LINEAR,
            "tick": Decimal("0.10"),
            "step": Decimal("0.001"),
            "min_notional": "100",
            "maker_fee": Decimal("0.0002"),
            "taker_fee": Decimal("0.0005"),
            "max_leverage": 125,
        }
        return Instrument(**(fields | changes))

    return make
