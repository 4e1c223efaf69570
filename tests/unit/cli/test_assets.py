"""`cryptoai data assets`: the command line over the registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cryptoai.cli.assets import app
from cryptoai.core.errors import ConfigError, DataError
from cryptoai.testing.loopback import Answer, Asked, loopback

SPOT = {
    "symbol": "NEWUSDT",
    "status": "TRADING",
    "baseAsset": "NEW",
    "quoteAsset": "USDT",
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.01", "minPrice": "0.01", "maxPrice": "9"},
        {"filterType": "LOT_SIZE", "stepSize": "0.1", "minQty": "0.1", "maxQty": "9"},
    ],
}


def venue(asked: Asked) -> Answer:
    return Answer(json.dumps({"symbols": [SPOT] if asked.path.startswith("/api") else []}).encode())


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_an_update_is_recorded_once(tmp_path: Path) -> None:
    """The first one adds what the venue lists, and ends what it does not; the second finds nothing new."""
    with loopback(venue) as server:
        words = ("update", "binance", "--lake", str(tmp_path), "--base-url", server.url)
        assert "1 instruments; 1 new, 0 changed, 2 no longer listed" in run(*words)
        assert "0 new, 0 changed, 0 no longer listed" in run(*words)
    assert "binance_spot:NEWUSDT" in run("list", "--lake", str(tmp_path)).split()
    assert "binance_spot:NEWUSDT" in run("show", "binance_spot:NEWUSDT", "--lake", str(tmp_path))


def test_the_list_of_a_moment(tmp_path: Path) -> None:
    """In 2018 there was spot and no perpetual."""
    assert run("list", "--lake", str(tmp_path), "--at", "2018-01-01").split() == [
        "binance_spot:BTCUSDT",
        "binance_spot:ETHUSDT",
    ]


def test_show_gives_brackets_and_history(tmp_path: Path) -> None:
    """Margin and dates of one instrument; an error before its listing."""
    shown = run("show", "binance_usdm:BTCUSDT", "--lake", str(tmp_path))
    assert "2019-09-25" in shown
    assert "2981450" in shown
    assert "version from the beginning, packaged" in shown
    with pytest.raises(DataError, match="not listed before"):
        run("show", "binance_usdm:BTCUSDT", "--lake", str(tmp_path), "--at", "2019-01-01")
    with pytest.raises(ConfigError, match="'noon'"):
        run("list", "--lake", str(tmp_path), "--at", "noon")
