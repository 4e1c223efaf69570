"""`cryptoai causal`: which columns drive which others, and how many rows later, from a table or from stored features.

Writes graph.json (the artefact) and graph.svg (its picture) into one folder. It must never print a doubtful link
without its doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from cryptoai.cli.console import err, out
from cryptoai.core.clock import SECOND
from cryptoai.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from cryptoai.world_model.causal_graph import CausalGraph

    Columns = tuple[list[str], npt.NDArray[np.float64]]

__all__ = ["causal"]

MOST_COLUMNS = 60


def causal(  # noqa: PLR0913, PLR0917 - each is an option of the command
    path: Annotated[Path | None, typer.Argument(help="Parquet or CSV, a column a variable, oldest row first.")] = None,
    asset: Annotated[str | None, typer.Option("--asset", "-a", help="Stored features of this symbol instead.")] = None,
    columns: Annotated[str, typer.Option(help="Columns or features to use, with commas. Default: all numbers.")] = "",
    change: Annotated[str, typer.Option(help="Columns whose change from row to row is meant.")] = "",
    log_change: Annotated[str, typer.Option(help="Columns whose log change is meant: prices, volumes.")] = "",
    method: Annotated[str, typer.Option(help="pcmci, or var where rows are many.")] = "pcmci",
    max_lag: Annotated[int, typer.Option(min=1, help="Longest delay, in rows.")] = 3,
    level: Annotated[float, typer.Option(help="False discovery rate.")] = 0.01,
    ranks: Annotated[bool, typer.Option("--ranks/--raw", help="Ranks withstand heavy tails.")] = True,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs of halves that links are sought in again.")] = 25,
    seed: Annotated[int, typer.Option(help="Of the halves.")] = 0,
    every: Annotated[float, typer.Option(help="With --asset: seconds between rows.")] = 1.0,
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for graph.json and graph.svg.")] = Path("var/causal"),
) -> None:
    """Find which columns drive which others later, and draw it: a hypothesis with its evidence, not a proof."""
    from cryptoai.world_model.causal_graph import Settings, discover

    names, values = _stored(asset, _split(columns), every, sets or []) if asset else _table(path, _split(columns))
    values = _changed(names, values, _split(change), _split(log_change))
    settings = Settings(method, max_lag, level, ranks, pairs, seed)
    graph = discover(values, names, settings)
    _write(graph, folder, asset or str(path.name if path else ""))
    out.print(_links(graph))
    doubtful = sum(edge.evidence == "doubtful" for edge in graph.cross())
    out.print(
        f"{len(graph.cross())} links, {doubtful} of them doubtful, and {len(graph.pairs)} pairs without direction"
    )
    out.print(f"{graph.rows:,} of {len(values):,} rows are complete with their past")
    out.print(f"wrote {folder / 'graph.json'} and {folder / 'graph.svg'}")
    err.print("these are hypotheses: " + "; ".join(graph.assumptions))


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _table(path: Path | None, wanted: Sequence[str]) -> Columns:
    """Columns of a file; where it has a time, gaps become missing rows and uneven steps are refused."""
    import numpy as np
    import polars as pl
    from polars import selectors

    from cryptoai.testing.market.catalogue import TRUTH_PREFIX

    if path is None:
        raise ConfigError("give a Parquet or CSV file, or --asset for stored features")
    frame = _read(path)
    numbers = [name for name in frame.select(selectors.numeric()).columns if not name.startswith(TRUTH_PREFIX)]
    names = list(wanted) or numbers
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ConfigError(f"--columns: {path.name} has no {', '.join(missing)}; it has {', '.join(frame.columns)}")
    values = frame.select(pl.col(names).cast(pl.Float64)).to_numpy()
    values = np.where(np.isfinite(values), values, np.nan)
    times = frame.select(selectors.temporal())
    return _few(names), _on_grid(values, times[:, 0]) if times.width else values


def _read(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        if path.suffix == ".csv":
            return pl.read_csv(path, try_parse_dates=True, infer_schema_length=None)
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is no table that can be read: {str(error).splitlines()[0]}") from error


def _on_grid(values: npt.NDArray[np.float64], times: pl.Series) -> npt.NDArray[np.float64]:
    """Rows at their places on an even grid of time, NaN where there is none."""
    import numpy as np
    import polars as pl

    stamps = times.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
    steps = np.diff(stamps)
    if len(steps) == 0 or steps.min() <= 0:
        raise DataError(f"column {times.name} must rise from row to row: sort the rows and drop the doubles")
    step = int(np.median(steps))
    if np.any(steps % step):
        uneven = int(np.flatnonzero(steps % step)[0]) + 1
        raise DataError(f"column {times.name} is not evenly spaced at row {uneven}: resample the table first")
    made = np.full(((stamps[-1] - stamps[0]) // step + 1, values.shape[1]), np.nan)
    made[(stamps - stamps[0]) // step] = values
    return made


def _stored(asset: str, wanted: Sequence[str], every: float, sets: list[str]) -> Columns:
    """The features' history, point in time, at even steps."""
    import numpy as np

    from cryptoai.cli.settings import load_config
    from cryptoai.cli.tapes import load_feeds
    from cryptoai.data_universe import schema
    from cryptoai.data_universe.history import History
    from cryptoai.data_universe.packed import limits

    if not wanted:
        raise ConfigError("--columns: name the stored features to use; docs/features.md lists them")
    chosen = load_config(sets=sets)
    (feed,) = load_feeds(chosen, [asset])
    past = History(Path(chosen.features.data) / "offline")
    first, last = past.span(feed.instrument.id)
    joined = past.join(feed.instrument.id, np.arange(first, last, int(every * SECOND)), limits(chosen.features))
    at = [schema.index(name) for name in wanted]
    return _few(list(wanted)), np.where(joined.mask[:, at], joined.values[:, at].astype(np.float64), np.nan)


def _few(names: list[str]) -> list[str]:
    if len(names) > MOST_COLUMNS:
        raise ConfigError(
            f"{len(names)} columns are too many for one graph: name at most {MOST_COLUMNS} with --columns"
        )
    return names


def _changed(
    names: Sequence[str], values: npt.NDArray[np.float64], change: Sequence[str], log_change: Sequence[str]
) -> npt.NDArray[np.float64]:
    import numpy as np

    unknown = [name for name in (*change, *log_change) if name not in names]
    if unknown:
        raise ConfigError(f"--change, --log-change: {', '.join(unknown)} is not among the columns {', '.join(names)}")
    made = values[1:].copy() if change or log_change else values
    for name in (*change, *log_change):
        column = values[:, names.index(name)]
        if name in log_change:
            column = np.log(np.where(column > 0, column, np.nan))
        made[:, names.index(name)] = np.diff(column)
    return made


def _write(graph: CausalGraph, folder: Path, title: str) -> None:
    from cryptoai.world_model.causal_graph import to_json
    from cryptoai.world_model.causal_picture import draw

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.json").write_text(to_json(graph), encoding="utf-8")
    (folder / "graph.svg").write_text(draw(graph, title), encoding="utf-8")


def _links(graph: CausalGraph) -> Table:
    table = Table(box=None, header_style="bold")
    heads: tuple[tuple[str, Any], ...] = (
        ("cause", "left"), ("effect", "left"), ("lag", "right"), ("strength", "right"), ("q", "right"),
        ("halves", "right"), ("evidence", "left"),
    )  # fmt: skip
    for head, side in heads:
        table.add_column(head, justify=side)
    for edge in graph.cross():
        often = "" if edge.frequency is None else f"{edge.frequency:.0%}"
        cells = (str(edge.lag), f"{edge.strength:+.3f}", f"{edge.q:.1e}", often, edge.evidence)
        table.add_row(edge.source, edge.target, *cells)
    return table
