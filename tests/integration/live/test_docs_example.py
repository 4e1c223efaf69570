"""The example of the page about the local exchange runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import SECOND
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.testing.exchange.small import bench
from cryptoai.testing.slices import head

PAGE = Path(__file__).parents[3] / "docs" / "exchange-simulator.md"
NAME = "binance_usdm:BTCUSDT"


def test_the_example_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the address is another: an order rests, is cancelled, another one fills and is the position."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "import ccxt" in block)
    assert len([line for line in code.splitlines() if line]) <= 15
    with bench(Feed(instrument(NAME), head(NAME, 2000))) as market:
        market.account("local-key", "local-secret", 100_000)
        market.go(3 * SECOND)
        exec(code.replace("127.0.0.1:8090", market.exchange.address), {})  # noqa: S102 - it is our own page
    status, price, holding = capsys.readouterr().out.splitlines()
    assert status == "open"
    assert float(price) > 60_000
    assert holding.split()[0] == "0.01"
