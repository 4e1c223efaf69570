"""Asking a venue through the unmodified ccxt, from a server on this machine that speaks Binance's shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cryptoai.cli.data import app
from cryptoai.core.clock import MS, SECOND, ReplayClock
from cryptoai.core.errors import ConfigError, TransientError, VenueError
from cryptoai.data_universe.adapters.ccxt_derivatives import CcxtDerivatives
from cryptoai.data_universe.derivatives.polling import record
from cryptoai.data_universe.lake_facts import read_facts
from cryptoai.testing.loopback import Answer, Asked, loopback

BTC = "binance_usdm:BTCUSDT"
NOW_MS = 1_704_067_200_000
HOUR_MS = 3_600_000
MARKET = {
    "symbol": "BTCUSDT",
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4_133_404_800_000,
    "onboardDate": 1_569_398_400_000,
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "0.1", "maxPrice": "0"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
    ],
}


class Venue:
    """Answers as the exchange does at `now`; `status` other than 200 refuses everything."""

    def __init__(self) -> None:
        self.now, self.status = NOW_MS, 200

    def reply(self, asked: Asked) -> Answer:
        name = asked.path.rsplit("/", 1)[-1]
        said = self.answers().get(name, {}) if self.status == 200 else {}
        return Answer(json.dumps(said).encode(), self.status)

    def answers(self) -> dict[str, Any]:
        paid = [NOW_MS - 8 * HOUR_MS * n + 3 for n in (2, 1, 0)]
        rates = [{"symbol": "BTCUSDT", "fundingTime": time, "fundingRate": "0.0001"} for time in paid]
        premium = {
            "symbol": "BTCUSDT",
            "markPrice": "42000.5",
            "indexPrice": "42001.5",
            "lastFundingRate": "0.00012",
            "nextFundingTime": NOW_MS + 8 * HOUR_MS,
            "time": self.now,
        }
        return {
            "exchangeInfo": {"symbols": [MARKET]},
            "premiumIndex": premium,
            "fundingRate": rates,
            "openInterest": {"symbol": "BTCUSDT", "openInterest": "80000.25", "time": self.now},
            "globalLongShortAccountRatio": [{"symbol": "BTCUSDT", "longShortRatio": "1.5", "timestamp": NOW_MS}],
        }


def test_two_rounds_are_stored_once_each(tmp_path: Path) -> None:
    """Five kinds; what was said in the round before is not stored again; known_at is when the answer was here."""
    venue, clock = Venue(), ReplayClock((NOW_MS + 200) * MS)

    def again() -> bool:
        venue.now += 10_000
        clock.advance_to(clock.now_ns() + 10 * SECOND)
        return venue.now == NOW_MS + 10_000

    with loopback(venue.reply) as server:
        done = record(tmp_path, CcxtDerivatives("binance_usdm", base_url=server.url), [BTC], clock, again)
    assert done.rounds == 2
    assert dict(done.written) == {
        "funding": 3,
        "funding_predicted": 2,
        "mark": 2,
        "open_interest": 2,
        "positioning": 1,
    }
    mark = read_facts(tmp_path, BTC, "mark")
    assert mark.values.tolist() == [[42_000.5, 42_001.5]] * 2
    assert (mark.known_at - mark.event_time).tolist() == [200 * MS] * 2
    assert read_facts(tmp_path, BTC, "funding").column("interval_s").tolist() == [28_800.0] * 3
    assert read_facts(tmp_path, BTC, "funding").known_at.tolist() == [(NOW_MS + 200) * MS] * 3
    assert read_facts(tmp_path, BTC, "funding_predicted").values[0].tolist() == [0.00012, NOW_MS / 1000 + 28_800]


@pytest.mark.parametrize(("status", "word"), [(429, "fewer requests"), (503, "cannot be reached")])
def test_a_busy_venue_is_a_hole_and_not_the_end(tmp_path: Path, status: int, word: str) -> None:
    """The failure is counted with its reason, and the next round is stored."""
    venue = Venue()
    venue.status = status

    def again() -> bool:
        before, venue.status = venue.status, 200
        return before != 200

    with loopback(venue.reply) as server:
        source = CcxtDerivatives("binance_usdm", base_url=server.url)
        done = record(tmp_path, source, [BTC], ReplayClock((NOW_MS + 5) * MS), again)
    assert sum(done.failures.values()) == 1
    assert word in next(iter(done.failures))
    assert done.written["mark"] == 1


def test_what_the_venue_does_not_list_is_an_error() -> None:
    """Whether the symbol or the whole venue is unknown."""
    with loopback(Venue().reply) as server, pytest.raises(VenueError, match="lists no contract binance_usdm:XRPUSDT"):
        CcxtDerivatives("binance_usdm", base_url=server.url).read("binance_usdm:XRPUSDT")
    with pytest.raises(ConfigError, match="the venues are binance_usdm"):
        CcxtDerivatives("nowhere")
    with pytest.raises(TransientError, match="cannot be reached"):
        CcxtDerivatives("binance_usdm", base_url="http://127.0.0.1:9").read(BTC)


def test_the_command_polls(tmp_path: Path) -> None:
    """One round of the real command; the venue's stamps are old, which its lag shows."""
    with loopback(Venue().reply) as server:
        arguments = ["poll", BTC, "--rounds", "1", "--base-url", server.url, "--lake", str(tmp_path)]
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.exception
    assert "1 mark" in result.stdout
    assert len(read_facts(tmp_path, BTC, "open_interest")) == 1
