"""`cryptoai data record`: live market data of a venue into a crash-safe file and the lake.

Wires ccxt.pro, the live tape and the lake; decides nothing. Needs no key: market data is public.
"""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptoai.cli.console import out
from cryptoai.cli.settings import load_config
from cryptoai.core.errors import ConfigError

if TYPE_CHECKING:
    from cryptoai.core.instruments import Instrument

__all__ = ["record"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "": 1}


def record(
    venue: Annotated[
        str, typer.Option(help="binance_usdm, binance_spot, binance_coinm, bybit, okx, coinbase, kraken.")
    ],
    symbol: Annotated[list[str], typer.Option(help="The venue's own symbol, e.g. BTCUSDT; repeat for more.")],
    duration: Annotated[
        str | None, typer.Option("--for", help="How long, e.g. 60s, 10m, 2h. Default: until Ctrl-C.")
    ] = None,
    flush: Annotated[float, typer.Option(help="A killed recorder loses at most these last seconds.")] = 1.0,
    store: Annotated[float, typer.Option(help="Seconds between two writes into the lake.")] = 10.0,
    tapes: Annotated[
        Path | None, typer.Option(help="Folder of the raw files. Default: tapes/ beside the lake.")
    ] = None,
    lake: Annotated[Path | None, typer.Option("--lake", help="Folder of the lake. Default: data.lake.")] = None,
) -> None:
    """Record trades, books, mark prices and liquidations live, resync after every gap, and mark the holes.

    What a killed recorder left is brought into the lake first.
    """
    from cryptoai.data_universe.adapters.ccxt_recorder import Limits, connect

    root = lake or Path(load_config().data.lake)
    folder = tapes or root.parent / "tapes"
    _finish_old(folder, root)
    exchange = connect(venue)
    instruments = tuple(_instrument(root, f"{venue}:{name}") for name in symbol)
    limits = Limits(sync_s=flush, store_s=store)
    asyncio.run(_record(exchange, instruments, (folder, root), limits, _seconds(duration)))


async def _record(
    exchange: Any, instruments: tuple[Instrument, ...], folders: tuple[Path, Path], limits: Any, seconds: float | None
) -> None:
    from cryptoai.core.clock import SystemClock
    from cryptoai.data_universe.adapters.ccxt_recorder import Recorder
    from cryptoai.data_universe.importing import append_piece
    from cryptoai.data_universe.market_microstructure.live import LiveTape

    clock = SystemClock()
    tape = LiveTape(folders[0], instruments[0].venue, instruments, clock)
    recorder = Recorder(exchange, tape, clock, lambda piece: append_piece(folders[1], piece), limits)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, recorder.stop)
    if seconds is not None:
        loop.call_later(seconds, recorder.stop)
    out.print(f"recording into {tape.path}")
    await recorder.run([made.symbol for made in instruments])
    out.print(f"{tape.messages:,} messages; `cryptoai data inspect` shows what the lake has of them")


def _finish_old(folder: Path, root: Path) -> None:
    """Rows that a killed recorder had on disk but not in the lake."""
    from cryptoai.data_universe.importing import import_recording
    from cryptoai.data_universe.market_microstructure.described import instruments_of

    for path in sorted(folder.glob("*.tape")):
        for made in instruments_of(path, {})[1]:
            import_recording(root, path, made)
        path.rename(path.with_suffix(".stored"))


def _instrument(root: Path, name: str) -> Instrument:
    """As the lake's registry knows it now, else as the venue describes it."""
    from cryptoai.core.clock import SystemClock
    from cryptoai.core.ids import parse_instrument
    from cryptoai.data_universe.adapters.ccxt_markets import CcxtMarkets
    from cryptoai.data_universe.adapters.ccxt_recorder import EXCHANGES
    from cryptoai.data_universe.asset_registry.registry import of_lake

    known = of_lake(root).known(SystemClock().now_ns())
    if name in known:
        return known[name]
    venue, symbol = parse_instrument(name)
    for made in CcxtMarkets(EXCHANGES[venue][0]).describe().instruments:
        if made.symbol == symbol and made.venue.startswith(venue):
            return made.model_copy(update={"id": name})
    raise ConfigError(f"{venue} lists no symbol {symbol}; give the venue's own name, for example BTCUSDT")


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not found:
        raise ConfigError(f"--for {text!r} is no duration; give for example 60s, 10m or 2h")
    return float(found[1]) * _UNITS[found[2]]
