"""`cryptoai data`: recorded market data into the lake, and what the lake holds.

Reads files that a user names; writes only below data.lake, atomically, so that a second import changes nothing.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from cryptoai.cli import facts
from cryptoai.cli.console import out, progress
from cryptoai.cli.settings import load_config
from cryptoai.core.clock import iso
from cryptoai.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from cryptoai.data_universe.market_microstructure.described import Grid
    from cryptoai.data_universe.market_microstructure.tape import ImportReport

__all__ = ["SAMPLES", "app", "import_recordings", "import_tape", "sample_path"]

_HELP = """Market data in the lake.

Sources, each with its command:

\b
- import: raw captures, captures of several connections, Tardis CSV;
  tables (CSV, Parquet) of OHLCV candles, funding, mark and index,
  open interest, liquidations, long/short ratios
- record: trades, L2 book, quotes, marks and liquidations, live, of
  Binance, Bybit, OKX, Coinbase, Kraken
- poll: funding, mark and index, open interest, ratios of a REST API
- onchain: flows, whale transfers, stablecoins, activity (CSV, Parquet, API)
- news: listings, hacks, regulation, unlocks, ... (JSON lines, RSS, Atom)
- assets: ticks, fees, leverage brackets, listing dates from ccxt
"""

app = typer.Typer(no_args_is_help=True, help=_HELP)
app.command("import-facts")(facts.import_facts)
app.command("poll")(facts.poll)
app.command("compact")(facts.compact)

SAMPLES = {
    "binance_usdm:BTCUSDT": "binance_usdm_btcusdt_20240808.gz",
    "binance_spot:BTCUSDT": "binance_spot_btcusdt_20240808.gz",
}
"""Tapes that come with the package (cryptoai/testing/tapes, with attribution)."""

Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake. Default: data.lake.")]


@app.command("import")
def import_(
    path: Annotated[
        Path | None, typer.Argument(help="Recording (raw, of several connections, Tardis CSV) or table (CSV, Parquet).")
    ] = None,
    instrument: Annotated[
        str | None,
        typer.Option(
            help="venue:SYMBOL, e.g. binance_usdm:BTCUSDT; a table needs it, or venue:* for every symbol that it names."
            " Default: all that a recording names."
        ),
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Import the tapes that come with the package.")] = False,
    tick: Annotated[str | None, typer.Option(help="Tick of an instrument that nothing else describes.")] = None,
    step: Annotated[str | None, typer.Option(help="Its quantity step.")] = None,
    interval: Annotated[float | None, typer.Option(help="Width of a table's bars in seconds.")] = None,
    lake: Lake = None,
) -> None:
    """Import a file, whatever it is: recorded trades and books, or a table of candles or derivatives data.

    The form is found by looking, and said: raw captures, our own recordings, captures of several connections (Binance,
    Bybit, OKX, Coinbase, Kraken), Tardis CSV; tables in CSV (plain, .gz, .zip) or Parquet. What cannot be trusted is
    quarantined with its reason.
    """
    if sample:
        for name in SAMPLES:
            out.print(import_tape(sample_path(name), name, _lake(lake)).summary())
        return
    if path is None:
        raise ConfigError("give a recording, or --sample for the packaged tapes")
    from cryptoai.data_universe.forms import form_of

    form = form_of(path)
    out.print(f"{path}: {form.text}", markup=False)
    if form.table:
        if instrument is None:
            raise ConfigError(
                f"{path} does not say its venue: give --instrument venue:SYMBOL, or venue:* for every symbol"
            )
        facts.import_facts(path, instrument, interval=interval, lake=lake)
        return
    import_recordings(path, _lake(lake), instrument, (tick, step))


@app.command("list")
def list_(lake: Lake = None) -> None:
    """Name the instruments that the lake holds."""
    from cryptoai.data_universe.lake import available

    for name in available(_lake(lake)):
        out.print(name)


@app.command()
def inspect(
    lake: Lake = None,
    picture: Annotated[Path | None, typer.Option(help="Write the same as a picture: an HTML page.")] = None,
) -> None:
    """Show coverage, holes, clock error or lag, and quarantined rows of every instrument and kind."""
    from cryptoai.data_universe.inspect import lanes

    found = lanes(_lake(lake))
    heads = ("instrument, kind", "from, to", "rows", "holes", "lag", "refused")
    table = Table(*(Column(head, no_wrap=True) for head in heads), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in found:
        span = f"{iso(row.spans[0][0])[:19]}\n{iso(row.spans[-1][1])[:19]}" if row.spans else "no rows"
        numbers = (f"{row.rows:,}", str(len(row.holes)), f"{row.lag_s:,.3f} s", str(sum(row.refused.values())))
        table.add_row(f"{row.instrument}\n{row.kind}", "damaged" if row.damage else span, *numbers)
    out.print(table)
    for row in found:
        for note in [*(f"refused {n:,}: {why}" for why, n in row.refused.items()), *row.notes]:
            out.print(f"{row.instrument} {row.kind}: {note}")
    if picture is not None:
        from cryptoai.data_universe.inspect_picture import picture as drawn

        picture.write_text(drawn(found, f"The lake {_lake(lake)}"), encoding="utf-8")
        out.print(f"picture: {picture}")
    damage = [row.damage for row in found if row.damage]
    if damage:
        raise DataError("; ".join(damage))


def import_tape(source: Path, name: str, lake: Path) -> ImportReport:
    """Brings one capture into the lake; the report says what was kept, corrected and refused."""
    from cryptoai.data_universe.asset_registry.registry import of_lake
    from cryptoai.data_universe.lake import import_capture
    from cryptoai.data_universe.market_microstructure.described import began

    made = of_lake(lake).instrument(name, began(source))
    with progress(f"import {name}") as advance:
        return import_capture(lake, source, made, lambda share: advance(100 * share, 100, "%"))


def import_recordings(path: Path, lake: Path, wanted: str | None, grid: tuple[str | None, str | None]) -> None:
    """Every instrument of a recording into the lake, as the lake's registry knew it when the recording began."""
    from cryptoai.data_universe.asset_registry.registry import of_lake
    from cryptoai.data_universe.importing import import_recording
    from cryptoai.data_universe.market_microstructure.described import began, instruments_of

    _, instruments = instruments_of(path, of_lake(lake).known(began(path)), wanted, _grid(*grid))
    for each in instruments:
        with progress(f"import {each.id}") as advance:
            done = import_recording(lake, path, each, lambda share: advance(100 * share, 100, "%"))
        out.print(done.summary())


def sample_path(name: str) -> Path:
    """Where the packaged tape of an instrument lies."""
    return Path(str(files("cryptoai.testing"))) / "tapes" / SAMPLES[name]


def _grid(tick: str | None, step: str | None) -> Grid | None:
    from cryptoai.data_universe.market_microstructure.described import Grid

    if tick is None and step is None:
        return None
    try:
        found = Grid(Decimal(tick or ""), Decimal(step or ""))
    except InvalidOperation as error:
        raise ConfigError(
            "give both --tick and --step as decimal numbers, for example --tick 0.1 --step 0.001"
        ) from error
    return found


def _lake(given: Path | None) -> Path:
    return given or Path(load_config().data.lake)
