"""Commands to the local exchange over its own port, and the command that starts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from cryptoai.cli import exchange as command
from cryptoai.core.errors import ConfigError
from cryptoai.testing.exchange.small import Bench, bench


@pytest.fixture
def market() -> Iterator[Bench]:
    with bench() as made:
        yield made


def post(market: Bench, path: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body or {}).encode()
    with urlopen(Request(f"http://{market.exchange.admin}{path}", data, method="POST"), timeout=60) as answer:
        return json.load(answer)


def get(market: Bench, path: str) -> Any:
    with urlopen(f"http://{market.exchange.admin}{path}", timeout=60) as answer:
        return json.load(answer)


def test_accounts_time_and_books_by_command(market: Bench) -> None:
    """An account is opened, time is stepped, the books are read."""
    post(market, "/account", {"venue": "binance_usdm", "key": "new", "secret": "s", "cash": "500"})
    assert post(market, "/advance", {"ms": 1500})["now_ns"] == market.now + 1_500_000_000
    assert get(market, "/ledger?venue=binance_usdm&key=new")["wallet"] == "500"


def test_faults_come_and_go_by_command(market: Bench) -> None:
    """They are in force until healed, and counted when they strike."""
    assert post(market, "/fault", {"kind": "stale_book"}) == {"active": 1}
    assert get(market, "/faults") == {"struck": {}, "active": ["stale_book"]}
    assert post(market, "/heal") == {"active": 0}
    assert post(market, "/disconnect") == {}


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/fault", {"kind": "magic"}, "unknown"),
        ("/fault", {"kind": "error", "chance": 2.0}, "at most 1"),
        ("/fault", {"kind": "error", "colour": "red"}, "colour"),
        ("/fault", {"kind": "error", "times": "many"}, "times"),
        ("/advance", {}, "KeyError"),
    ],
)
def test_a_wrong_command_is_one_sentence(market: Bench, path: str, body: dict[str, Any], word: str) -> None:
    """400 with what is wrong, and nothing happens."""
    with pytest.raises(HTTPError) as refused:
        post(market, path, body)
    assert refused.value.code == 400
    assert word in json.load(refused.value)["error"]
    assert get(market, "/faults")["active"] == []


def test_the_first_screen_says_how_to_reach_it() -> None:
    """Key, secret, money, and lines that a person can paste."""
    from cryptoai.testing.exchange.small import small_feed, small_instrument

    screen = command._account([small_feed(small_instrument("binance_usdm"))], "k", "s", 7)
    text = "\n".join(screen)
    assert "key k, secret s, 7 USDT" in text
    assert "ccxt.binanceusdm(" in text
    assert "http://ADMIN/fault" in text


def test_a_tape_that_is_not_there_is_named() -> None:
    """With what is shipped; an instrument that is unknown, and a venue that is not spoken, likewise."""
    with pytest.raises(ConfigError, match="binance_usdm_btcusdt"):
        command._feeds(["binance_usdm:BTCUSDT=/nowhere"], 1)
    with pytest.raises(ConfigError, match="there is no tape"):
        command._feeds(["binance_coinm:BTCUSD_PERP"], 1)
