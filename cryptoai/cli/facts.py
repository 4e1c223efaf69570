"""`cryptoai data import-facts`, `poll` and `compact`: derivatives data into the lake, and fewer, larger files in it.

Registered with `cryptoai data`. Reads files that a user names and writes only below data.lake; a second import changes
nothing.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Annotated

import typer

from cryptoai.cli.console import out, progress
from cryptoai.cli.settings import load_config

__all__ = ["compact", "import_facts", "poll"]

Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake. Default: data.lake.")]


def import_facts(
    path: Annotated[Path, typer.Argument(help="CSV (plain, .gz, .zip) or Parquet, e.g. of Binance Vision or Tardis.")],
    instrument: Annotated[str, typer.Option(help="venue:SYMBOL, e.g. binance_usdm:BTCUSDT; venue:* for every symbol.")],
    symbol: Annotated[str | None, typer.Option(help="What the file calls the instrument.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="funding, funding_predicted, mark, open_interest, liquidations, positioning or candles;"
            " found from the columns if not given."
        ),
    ] = None,
    interval: Annotated[float | None, typer.Option(help="Width of a bar or funding interval in seconds.")] = None,
    lag: Annotated[float, typer.Option(help="Seconds until it was known, where the file does not say.")] = 0.0,
    lake: Lake = None,
) -> None:
    """Import funding, mark and index, open interest, liquidations, long/short ratios or OHLCV bars from a table.

    A liquidation's side is that of the forced order; Bybit names the position instead, and is read so.
    """
    from cryptoai.core.clock import SECOND, SystemClock
    from cryptoai.data_universe.derivatives.importing import Source
    from cryptoai.data_universe.derivatives.importing import import_facts as store
    from cryptoai.data_universe.derivatives.readings import How

    venue, _, name = instrument.partition(":")
    how = How(interval, round(lag * SECOND), positions=venue.startswith("bybit"))
    every = name == "*"
    source = Source(path, None if every else instrument, venue if every else None, symbol, tuple(kind or ()), how)
    root = lake or Path(load_config().data.lake)
    with progress(f"import {path.name}") as advance:
        reports = store(root, source, SystemClock().now_ns(), lambda rows: advance(rows, rows, "rows"))
    for report in reports:
        out.print(report.summary())


def poll(
    instruments: Annotated[list[str], typer.Argument(help="Instruments of one venue, e.g. binance_usdm:BTCUSDT.")],
    every: Annotated[float, typer.Option(help="Seconds between rounds.", min=1.0)] = 10.0,
    rounds: Annotated[int, typer.Option(help="Stop after so many; 0 goes on until interrupted.", min=0)] = 0,
    base_url: Annotated[str | None, typer.Option(help="Another host for the venue's REST API.")] = None,
    lake: Lake = None,
) -> None:
    """Record funding, mark and index, open interest and long/short ratios by asking a venue's REST API."""
    from cryptoai.core.clock import SystemClock
    from cryptoai.core.ids import parse_instrument
    from cryptoai.data_universe.adapters.ccxt_derivatives import CcxtDerivatives
    from cryptoai.data_universe.derivatives.polling import record

    venue = parse_instrument(instruments[0])[0]
    left = itertools.count(1)

    def again() -> bool:
        if rounds and next(left) >= rounds:
            return False
        time.sleep(every)
        return True

    source = CcxtDerivatives(venue, base_url=base_url)
    done = record(lake or Path(load_config().data.lake), source, instruments, SystemClock(), again)
    out.print(
        f"{done.rounds:,} round(s): {', '.join(f'{n:,} {kind}' for kind, n in done.written.items()) or 'no rows'}"
    )
    for reason, count in (*done.refused.items(), *done.failures.items()):
        out.print(f"{count:,} x {reason}")


def compact(lake: Lake = None) -> None:
    """Join the many small files that recorders leave; the rows stay the same, and a crash loses none."""
    from cryptoai.data_universe.fact_compaction import compact_facts
    from cryptoai.data_universe.lake import available, compact_events

    root = lake or Path(load_config().data.lake)
    saved = compact_facts(root) + sum(compact_events(root, name) for name in available(root))
    out.print(f"{saved:,} file(s) fewer in {root}")
