"""Commands to the local exchange over a port of their own: faults, time, accounts, and what the books say.

POST /fault {"kind": "drop_ack", "path": "/order", "times": 1}     POST /heal     GET /faults
POST /advance {"ms": 1000}                                         POST /disconnect
POST /account {"venue": "binance_usdm", "key": "...", "secret": "...", "cash": "10000"}
GET /ledger?venue=binance_usdm&key=...
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from cryptoai.core.clock import MS
from cryptoai.core.errors import CryptoAIError
from cryptoai.core.money import Money
from cryptoai.testing.exchange.client import Client
from cryptoai.testing.exchange.faults import Fault

if TYPE_CHECKING:
    from cryptoai.testing.exchange.server import ExchangeServer

__all__ = ["admin_application", "ledger"]

Work = Callable[["ExchangeServer", dict[str, Any]], Awaitable[Any]]


def admin_application(server: ExchangeServer) -> web.Application:
    """The application of the admin port."""
    app = web.Application()
    for path, work in _POSTS.items():
        app.router.add_post(path, _posted(server, work))
    for path, work in _GETS.items():
        app.router.add_get(path, _got(server, work))
    return app


def ledger(client: Client) -> dict[str, Any]:
    """What the venue's books say of a client, amounts as exact text: the truth that a bot's journal must equal."""
    account = client.desk.account
    return {
        "wallet": str(client.wallet),
        "fees": str(account.fees),
        "funding": str(account.funding),
        "positions": {symbol: str(client.position(symbol)) for symbol in client.instruments},
        "orders": [
            {
                "client_id": record.wanted.client_id,
                "status": str(record.status),
                "quantity": str(record.wanted.quantity),
                "filled": str(record.filled),
                "reason": record.reason,
            }
            for record in client.orders.values()
        ],
        "fills": [
            {
                "id": made.number,
                "client_id": made.client_id,
                "side": str(made.fill.side),
                "price": str(made.fill.price),
                "quantity": str(made.fill.quantity),
                "fee": str(made.fill.fee),
                "time": made.fill.event_time,
            }
            for made in client.trades
        ],
    }


async def _fault(server: ExchangeServer, body: dict[str, Any]) -> Any:
    fault = Fault.of(body)
    server.faults.active.append(fault)
    if fault.kind == "maintenance":
        await server.disconnect()
    return {"active": len(server.faults.active)}


async def _heal(server: ExchangeServer, _: dict[str, Any]) -> Any:
    server.faults.heal()
    return {"active": 0}


async def _advance(server: ExchangeServer, body: dict[str, Any]) -> Any:
    server.clock.advance_to(server.clock.now_ns() + int(body["ms"]) * MS)
    await server.advance()
    return {"now_ns": server.clock.now_ns()}


async def _disconnect(server: ExchangeServer, _: dict[str, Any]) -> Any:
    await server.disconnect()
    return {}


async def _account(server: ExchangeServer, body: dict[str, Any]) -> Any:
    server.open_account(body["venue"], body["key"], body["secret"], Money(str(body["cash"])))
    return {"venue": body["venue"], "key": body["key"]}


async def _ledger(server: ExchangeServer, asked: dict[str, Any]) -> Any:
    await server.advance()
    return ledger(server.floors[asked["venue"]].clients[asked["key"]])


async def _faults(server: ExchangeServer, _: dict[str, Any]) -> Any:
    return {"struck": dict(server.faults.counts), "active": [fault.kind for fault in server.faults.active]}


_POSTS: dict[str, Work] = {
    "/fault": _fault,
    "/heal": _heal,
    "/advance": _advance,
    "/disconnect": _disconnect,
    "/account": _account,
}
_GETS: dict[str, Work] = {"/ledger": _ledger, "/faults": _faults}


def _posted(server: ExchangeServer, work: Work) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        text = await request.text()
        return await _carried_out(server, work, text)

    return answer


def _got(server: ExchangeServer, work: Work) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return await _carried_out(server, work, json.dumps(dict(request.query)))

    return answer


async def _carried_out(server: ExchangeServer, work: Work, text: str) -> web.Response:
    try:
        body = json.loads(text) if text else {}
        return web.json_response(await work(server, body))
    except (CryptoAIError, ValueError, KeyError, TypeError) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
