"""`cryptoai data import-facts` and `compact`: tables of derivatives data into the lake, and fewer, larger files in it.

Registered with `cryptoai data`. Reads files that a user names and writes only below data.lake; a second import changes
nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryptoai.cli.console import out, progress
from cryptoai.cli.settings import load_config

__all__ = ["compact", "import_facts"]

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


def compact(lake: Lake = None) -> None:
    """Join the many small files that recorders leave; the rows stay the same, and a crash loses none."""
    from cryptoai.data_universe.fact_compaction import compact_facts
    from cryptoai.data_universe.lake import available, compact_events

    root = lake or Path(load_config().data.lake)
    saved = compact_facts(root) + sum(compact_events(root, name) for name in available(root))
    out.print(f"{saved:,} file(s) fewer in {root}")
