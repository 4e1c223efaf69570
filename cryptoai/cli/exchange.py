"""`cryptoai exchange`: a venue on this machine that the real ccxt trades against, on a recorded market.

Wires tapes, the exchange and its admin port, and says how to reach them; decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cryptoai.cli.console import err, out
from cryptoai.core.clock import SystemClock
from cryptoai.core.errors import ConfigError
from cryptoai.core.money import Money

if TYPE_CHECKING:
    from cryptoai.backtesting.market import Feed
    from cryptoai.testing.exchange.server import ExchangeServer

__all__ = ["exchange"]

_EXCHANGES = {"binance_usdm": "binanceusdm", "binance_spot": "binance", "bybit_linear": "bybit"}


def exchange(  # noqa: PLR0913, PLR0917 - each is an option of the command
    port: Annotated[int, typer.Option(help="Port of the exchange; commands are taken on the next one.")] = 8090,
    tape: Annotated[
        list[str] | None,
        typer.Option(help="ID of a shipped tape, or ID=FILE of a capture; repeat. Default: binance_usdm:BTCUSDT."),
    ] = None,
    speed: Annotated[float, typer.Option(help="Market seconds a second; 0 stands still until told to advance.")] = 1.0,
    repeat: Annotated[int, typer.Option(min=1, max=100, help="How often the tape is told in a row.")] = 4,
    cash: Annotated[int, typer.Option(min=1, help="Money of the test account, quote currency.")] = 100_000,
    key: Annotated[str, typer.Option(help="API key of the test account.")] = "local-key",
    secret: Annotated[str, typer.Option(help="Its secret.")] = "local-secret",  # noqa: S107 - opens nothing real
    seed: Annotated[int, typer.Option(help="Seed of the faults.")] = 0,
) -> None:
    """Trade with real ccxt against a local exchange: a recorded market, your own account, faults on command.

    Nothing leaves this machine and no account is needed. See docs/exchange-simulator.md.
    """
    from cryptoai.testing.exchange.threads import make_server

    names = list(dict.fromkeys(tape or ["binance_usdm:BTCUSDT"]))
    err.print(f"reading {', '.join(names)} ...")
    feeds = _feeds(names, repeat)
    if speed < 0:
        raise ConfigError(f"--speed must be 0 or more, not {speed}")

    async def run() -> None:
        server = make_server(feeds, speed=speed or None, seed=seed)
        for venue in server.floors:
            server.open_account(venue, key, secret, Money(cash))
        await _serve(server, port, _account(feeds, key, secret, cash))

    asyncio.run(run())


def _feeds(names: Sequence[str], repeat: int) -> list[Feed]:
    """Every tape from now on, so that what clients see is of today."""
    from dataclasses import replace

    from cryptoai.testing.exchange.server import DIALECTS
    from cryptoai.testing.exchange.tapes import read_tape, retold

    read = [read_tape(name) for name in names]
    foreign = [feed.instrument.id for feed in read if feed.instrument.venue not in DIALECTS]
    if foreign:
        raise ConfigError(f"the exchange does not speak the venue of {', '.join(foreign)}; it speaks {_spoken()}")
    now = SystemClock().now_ns()
    return [replace(feed, events=retold(feed.events, repeat, now)) for feed in read]


def _spoken() -> str:
    from cryptoai.testing.exchange.server import DIALECTS

    return ", ".join(DIALECTS)


def _account(feeds: Sequence[Feed], key: str, secret: str, cash: int) -> list[str]:
    """The first screen, below the addresses."""
    markets = ", ".join(feed.instrument.id for feed in feeds)
    name = _EXCHANGES[feeds[0].instrument.venue]
    return [
        f"  markets     {markets}",
        f"  account     key {key}, secret {secret}, {cash} {feeds[0].instrument.settlement}",
        "",
        "Point ccxt at it:",
        "",
        "  import ccxt, json, re",
        f'  ex = ccxt.{name}({{"apiKey": "{key}", "secret": "{secret}"}})',
        '  here = lambda m: {"https": "http", "wss": "ws"}[m[1]] + "://ADDRESS"',
        '  ex.urls["api"] = json.loads(re.sub(r\'(https|wss)://[^/"]+\', here, json.dumps(ex.urls["api"])))',
        "  print(ex.fetch_balance()['total'])",
        "",
        'A fault:  curl -d \'{"kind": "drop_ack", "path": "/order", "times": 1}\' http://ADMIN/fault',
    ]


async def _serve(server: ExchangeServer, port: int, screen: list[str]) -> None:
    from cryptoai.testing.exchange.admin import admin_application

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    try:
        place, admin = await server.start("127.0.0.1", port, admin_application(server), port + 1 if port else 0)
    except OSError as error:
        raise ConfigError(f"port {port} or {port + 1} is taken ({error.strerror}); choose another --port") from None
    out.print(f"\nLocal exchange: REST and streams on http://{place}, commands on http://{admin}\n")
    for line in screen:
        out.print(line.replace("ADDRESS", place).replace("ADMIN", admin), markup=False)
    out.print("\nCtrl-C ends it.", markup=False)
    while not stop.is_set() and not (server.clock.speed and server.clock.ended):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)
    await server.stop()
    out.print("the tape is over" if server.clock.ended else "stopped")
