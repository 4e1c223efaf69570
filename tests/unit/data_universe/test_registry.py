"""Names to instruments: what is known, what is preferred, and what an unknown name is told."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from cryptoai.core.errors import DataError
from cryptoai.data_universe.asset_registry.registry import INSTRUMENTS, instrument, load, resolve

PERP, SPOT, COIN = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT", "binance_coinm:BTCUSD_PERP"


@pytest.mark.parametrize("asset", ["BTCUSDT", "btcusdt", PERP])
def test_an_asset_is_the_perpetual_with_its_spot(asset: str) -> None:
    """Where both have data, the perpetual is traded and spot is its companion."""
    found = resolve(asset, [SPOT, PERP, COIN])
    assert found.traded.id == PERP
    assert found.companion is not None
    assert found.companion.id == SPOT


def test_without_spot_there_is_no_companion() -> None:
    """The companion is missing rather than another pair's."""
    assert resolve("BTCUSDT", [PERP, "binance_spot:ETHUSDT"]).companion is None


def test_a_spot_asset_is_traded_alone() -> None:
    """A full id chooses the venue even where the perpetual has data."""
    found = resolve(SPOT, [PERP, SPOT])
    assert (found.traded.id, found.companion) == (SPOT, None)


def test_the_inverse_contract_is_known() -> None:
    """COIN-M is 100 USD a contract and has no USDT companion."""
    found = resolve("BTCUSD_PERP", [PERP, SPOT, COIN])
    assert found.traded.contract_size == Decimal(100)
    assert found.companion is None


def test_an_asset_without_data_names_what_there_is() -> None:
    """The error names the asset and lists the instruments that have data."""
    with pytest.raises(DataError, match=f"DOGEUSDT.*{SPOT}, {PERP}"):
        resolve("DOGEUSDT", [PERP, SPOT])
    with pytest.raises(DataError, match="there is: nothing"):
        resolve("BTCUSDT", [])


def test_an_unknown_id_lists_the_known() -> None:
    """An id that nobody registered is an error, not a default instrument."""
    with pytest.raises(DataError, match=r"binance_usdm:NOPE.*binance_usdm:BTCUSDT"):
        instrument("binance_usdm:NOPE")


def test_more_instruments_come_from_a_file(tmp_path: Path) -> None:
    """A file adds instruments and replaces fees; the built-in table stays as it was."""
    sol = json.loads(INSTRUMENTS[PERP].model_dump_json()) | {
        "id": "binance_usdm:SOLUSDT",
        "base": "SOL",
        "tick": "0.01",
    }
    cheap = json.loads(INSTRUMENTS[PERP].model_dump_json()) | {"taker_fee": "0.0001"}
    path = tmp_path / "more.json"
    path.write_text(json.dumps([sol, cheap]))
    known = load(path)
    assert instrument("binance_usdm:SOLUSDT", known).tick == Decimal("0.01")
    assert known[PERP].taker_fee == Decimal("0.0001")
    assert INSTRUMENTS[PERP].taker_fee == Decimal("0.0005")


@pytest.mark.parametrize(("text", "why"), [("{", "JSON"), ('[{"id": "x:Y"}]', "0.base"), ("{}", "top level")])
def test_a_bad_instrument_file_names_the_field(tmp_path: Path, text: str, why: str) -> None:
    """The error names the file and the first field that is wrong."""
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"bad\.json.*{why}"):
        load(path)
