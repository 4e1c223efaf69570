"""`cryptoai data synth`: a synthetic market with its truth as a Parquet file, to try a method on.

Writes one file where the user says, never into a lake. It must never write what could be taken for market data:
the file says in its metadata that it is synthetic, and no importer knows its columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cryptoai.cli.console import out as screen
from cryptoai.cli.settings import load_config
from cryptoai.core.errors import ConfigError

__all__ = ["synth"]


def synth(
    name: Annotated[str | None, typer.Argument(help="Market; see --list.")] = None,
    rows: Annotated[int, typer.Option(help="Rows to make, at least 100.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Parquet file. Default: NAME.parquet here.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the markets and leave.")] = False,
) -> None:
    """Write a synthetic market whose truth is known; columns truth_* hold what a method must not read.

    It is for trying methods, and cannot enter a lake.
    """
    if list_:
        screen.print(_list())
        return
    if name is None:
        raise ConfigError("name a market, or give --list to see them")
    path = out or Path(f"{name}.parquet")
    _refuse_lake(path, Path(load_config().data.lake))
    count = _write(name, seed, rows, path)
    screen.print(f"{path}: synthetic market {name}, seed {seed}, {rows:,} rows, {count} columns", markup=False)


def _list() -> Table:
    from cryptoai.testing.market.catalogue import CATALOGUE

    table = Table("market", "what it is", box=None, header_style="bold")
    for name, entry in CATALOGUE.items():
        table.add_row(name, entry.text)
    return table


def _refuse_lake(path: Path, lake: Path) -> None:
    if path.suffix != ".parquet":
        raise ConfigError(f"--out {path} must end in .parquet")
    whole = path.resolve()
    # Another configuration's lake is known by the folders that every lake has.
    inside = [lake.resolve(), *(folder for folder in whole.parents if any(folder.glob("kind=*")))]
    if any(whole.is_relative_to(folder) for folder in inside):
        raise ConfigError(f"--out {path} lies in a lake, which holds market data only; choose another folder")


def _write(name: str, seed: int, rows: int, path: Path) -> int:
    """Columns written; the file appears whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from cryptoai.testing.market.catalogue import columns_of

    note = {"cryptoai.synthetic": name, "cryptoai.seed": str(seed), "cryptoai.note": "not market data"}
    table = pa.table(columns_of(name, seed, rows)).replace_schema_metadata(note)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    pq.write_table(table, part)
    part.replace(path)
    return len(table.column_names)
