"""`cryptoai data`: recorded market data into the lake, and what the lake holds.

Reads files that a user names; writes only below data.lake, atomically, so that a second import changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from cryptoai.cli.console import out, progress
from cryptoai.cli.settings import load_config
from cryptoai.core.clock import iso
from cryptoai.core.errors import ConfigError

if TYPE_CHECKING:
    from cryptoai.data_universe.market_microstructure.tape import ImportReport

__all__ = ["SAMPLES", "app", "import_tape", "sample_path"]

app = typer.Typer(no_args_is_help=True, help="Import, list and inspect recorded market data.")

SAMPLES = {
    "binance_usdm:BTCUSDT": "binance_usdm_btcusdt_20240808.gz",
    "binance_spot:BTCUSDT": "binance_spot_btcusdt_20240808.gz",
}
"""Tapes that come with the package (cryptoai/testing/tapes, with attribution)."""

Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake. Default: data.lake.")]


@app.command("import")
def import_(
    path: Annotated[Path | None, typer.Argument(help="Raw capture, plain or .gz: '<local ns> <json>' lines.")] = None,
    instrument: Annotated[str | None, typer.Option(help="venue:SYMBOL, e.g. binance_usdm:BTCUSDT.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Import the tapes that come with the package.")] = False,
    lake: Lake = None,
) -> None:
    """Import a raw exchange capture: sync the book, correct the clock, quarantine what cannot be trusted."""
    for name, source in _sources(path, instrument, sample=sample):
        out.print(import_tape(source, name, _lake(lake)).summary())


@app.command("list")
def list_(lake: Lake = None) -> None:
    """Name the instruments that the lake holds."""
    from cryptoai.data_universe.lake import available

    for name in available(_lake(lake)):
        out.print(name)


@app.command()
def inspect(lake: Lake = None) -> None:
    """Show coverage, holes, clock error and quarantined rows of every instrument."""
    from cryptoai.data_universe.inspect import coverage

    heads = ("instrument", "from, to", "rows", "holes", "clock", "refused")
    table = Table(*(Column(head, no_wrap=True) for head in heads), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    found = coverage(_lake(lake))
    for row in found:
        span = f"{iso(row.first)[:19]}\n{iso(row.last)[:19]}"
        facts = (f"{sum(row.rows.values()):,}", str(row.holes), f"{row.clock_error_s:+.3f} s", str(row.outliers))
        table.add_row(row.instrument, span, *facts)
    out.print(table)
    for row in found:
        for note in row.notes:
            out.print(f"{row.instrument}: {note}")


def import_tape(source: Path, name: str, lake: Path) -> ImportReport:
    """Brings one capture into the lake; the report says what was kept, corrected and refused."""
    from cryptoai.data_universe.asset_registry.registry import instrument
    from cryptoai.data_universe.lake import import_capture

    with progress(f"import {name}") as advance:
        return import_capture(lake, source, instrument(name), lambda share: advance(100 * share, 100, "%"))


def sample_path(name: str) -> Path:
    """Where the packaged tape of an instrument lies."""
    return Path(str(files("cryptoai.testing"))) / "tapes" / SAMPLES[name]


def _sources(path: Path | None, instrument: str | None, *, sample: bool) -> Iterable[tuple[str, Path]]:
    if sample:
        return [(name, sample_path(name)) for name in SAMPLES]
    if path is None or instrument is None:
        raise ConfigError("give a capture and its --instrument venue:SYMBOL, or --sample for the packaged tapes")
    return [(instrument, path)]


def _lake(given: Path | None) -> Path:
    return given or Path(load_config().data.lake)
