"""Binance: spot, USD-M and COIN-M streams (raw or combined), REST depth snapshots, mark price and forced orders.

Formats: developers.binance.com, "WebSocket Streams" of each product. The chain rule is `sequence.BinanceRule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.market_microstructure.messages import Best, Depth, Fact, Ignored, Item, Trade, ms

__all__ = ["Binance"]

Message = dict[str, Any]

_OUTSIDE = "trade outside the book (insurance fund, auto-deleveraging)"


class Binance:
    """`spot` streams chain U to the u before; futures say `pu`."""

    def __init__(self, *, spot: bool) -> None:
        self._spot = spot
        self._kinds: dict[str, Callable[[Message, int], Iterable[Item]]] = {
            "depthUpdate": self._depth,
            "trade": _trade,
            "aggTrade": _aggregate,
            "bookTicker": _quote,
            "markPriceUpdate": _mark,
            "forceOrder": _forced,
        }

    def decode(self, message: Any, hint: str) -> Iterable[Item]:
        """Items of a stream message or of a REST snapshot, which names its symbol in the address only."""
        if isinstance(message, list) and message:
            return [item for each in message for item in self.decode(each, hint)]
        body = message.get("data", message)
        if "lastUpdateId" in body:
            return [_snapshot(body, hint)]
        if "result" in message or "code" in message:
            return [Ignored("reply to a request")]
        kind = _kind(message, body)
        if kind not in self._kinds:
            return [Ignored(f"stream {kind}" if kind else "unknown stream", body.get("s"))]
        return self._kinds[kind](body, ms(str(body.get("T") or body.get("E") or 0)))

    def _depth(self, body: Message, event: int) -> list[Item]:
        previous = body["U"] - 1 if self._spot else body["pu"]
        return [
            Depth(body["s"], event, body["b"], body["a"], previous=previous, last=int(body["u"]), name="depthUpdate")
        ]


def _snapshot(body: Message, hint: str) -> Depth:
    asked = parse_qs(urlsplit(hint).query).get("symbol", [""])[0]
    symbol, event = body.get("symbol", asked), ms(str(body.get("T") or body.get("E") or 0))
    bids, asks = body["bids"], body["asks"]
    return Depth(symbol, event, bids, asks, snapshot=True, last=int(body["lastUpdateId"]), name="depth snapshot")


def _trade(body: Message, event: int) -> list[Item]:
    if body.get("X", "MARKET") != "MARKET":
        return [Ignored(_OUTSIDE, body["s"])]
    side = ASK if body["m"] else BID  # m: the buyer was the maker, so the seller was the aggressor
    return [Trade(body["s"], event, side, body["p"], body["q"], body.get("t"))]


def _aggregate(body: Message, event: int) -> list[Item]:
    side = ASK if body["m"] else BID
    return [Trade(body["s"], event, side, body["p"], body["q"], body.get("a"), name="aggTrade")]


def _quote(body: Message, event: int) -> list[Item]:
    return [Best(body["s"], event, [body["b"], body["B"]], [body["a"], body["A"]], name="bookTicker")]


def _mark(body: Message, event: int) -> list[Item]:
    del event  # T is the next funding time here; the message happened at E
    at, index = ms(body["E"]), body.get("i")
    items: list[Item] = [Fact(body["s"], at, "mark", (float(body["p"]), float(index) if index else float("nan")))]
    if body.get("r") and body.get("T"):
        items.append(Fact(body["s"], at, "funding_predicted", (float(body["r"]), ms(body["T"]) / 1e9)))
    return items


def _forced(body: Message, event: int) -> list[Item]:
    del event
    order = body["o"]
    side, price = (1.0 if order["S"] == "BUY" else -1.0), float(order.get("ap") or order["p"])
    return [Fact(order["s"], ms(order["T"]), "liquidations", (side, price, float(order.get("z") or order["q"])))]


def _kind(message: Message, body: Message) -> str:
    """The venue's name of a message; spot's bookTicker carries none."""
    kind = body.get("e")
    if kind is None and (str(message.get("stream")).endswith("@bookTicker") or _bare_quote(body)):
        return "bookTicker"
    return str(kind or "")


def _bare_quote(body: Message) -> bool:
    return {"u", "s", "b", "B", "a", "A"} == body.keys()
