"""`cryptoai data onchain`: metrics of a chain from a file or an API into the lake, each known from its publication on.

Writes only below data.lake. A token comes from CRYPTOAI_ONCHAIN_TOKEN.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cryptoai.cli.console import err, out
from cryptoai.cli.settings import load_config
from cryptoai.core.clock import SystemClock, iso
from cryptoai.core.errors import ConfigError

if TYPE_CHECKING:
    from cryptoai.data_universe.onchain.source import OnChainSource

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="On-chain metrics: activity, fees, exchange and stablecoin flows, ...")

Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake. Default: data.lake.")]
Asset = Annotated[str, typer.Option("--asset", help="Coin of the chain, e.g. BTC.")]
Names = Annotated[list[str] | None, typer.Option("--metric", help="Metric to take; repeat. Default: all.")]
Start = Annotated[str, typer.Option("--start", help="First day, UTC.")]
Stop = Annotated[str | None, typer.Option("--stop", help="Day after the last. Default: now.")]


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="CSV or Parquet, wide (a column a metric) or long (metric, value).")],
    asset: Asset = "BTC",
    metric: Names = None,
    lake: Lake = None,
) -> None:
    """Import a file of daily or block-wise metrics."""
    from cryptoai.data_universe.onchain.files import FileSource

    now = SystemClock().now_ns()
    _store(FileSource(path, asset, now), (asset, metric), (-(2**62), now), (path.name, _lake(lake)))


@app.command()
def fetch(
    url: Annotated[str, typer.Argument(help="Base URL that speaks the Coin Metrics v4 dialect.")],
    asset: Asset = "BTC",
    metric: Names = None,
    start: Start = "2015-01-01",
    stop: Stop = None,
    lake: Lake = None,
    our_names: Annotated[
        bool, typer.Option("--our-names", help="The API uses the metric names of this project.")
    ] = False,
) -> None:
    """Fetch metrics from a JSON API, page by page, with retries."""
    from cryptoai.data_universe.adapters.http_onchain import COIN_METRICS, HttpOnChain

    clock = SystemClock()
    names = None if our_names else COIN_METRICS
    source = HttpOnChain(url, clock, names=names, token=os.environ.get("CRYPTOAI_ONCHAIN_TOKEN", ""))
    chosen = metric or (None if our_names else list(COIN_METRICS))
    span = (_moment(start), _moment(stop) if stop else clock.now_ns())
    try:
        _store(source, (asset, chosen), span, (url, _lake(lake)))
    finally:
        source.close()


@app.command("list")
def list_(lake: Lake = None, asset: Asset = "BTC") -> None:
    """Show which metrics there are, when each becomes known, and what the lake holds of an asset."""
    from cryptoai.data_universe.lake_facts import read_facts
    from cryptoai.data_universe.onchain.metrics import METRICS

    held = read_facts(_lake(lake), _chain(asset), "onchain")
    table = Table("metric", "unit", "every", "known after", "rows", "last", box=None)
    for index, found in enumerate(METRICS):
        times = held.event_time[held.column("metric") == index]
        last = iso(int(times.max()))[:10] if len(times) else ""
        lag = f"{found.lag_s // 60} min"
        table.add_row(found.name, found.unit, found.cadence, lag, str(len(times)), last)
    out.print(table)


def _store(
    source: OnChainSource, wanted: tuple[str, list[str] | None], span: tuple[int, int], place: tuple[str, Path]
) -> None:
    from cryptoai.data_universe.lake_facts import write_facts
    from cryptoai.data_universe.onchain.metrics import METRIC_NAMES

    asset, names = wanted
    name, lake = place
    facts = source.read(asset, names or METRIC_NAMES, *span)
    out.print(write_facts(lake, _chain(asset), facts, name, now_ns=SystemClock().now_ns()).summary())
    for reason, count in source.refused.items():
        err.print(f"not taken: {count:,} value(s): {reason}", markup=False)


def _chain(asset: str) -> str:
    return f"chain:{asset.upper()}"


def _moment(text: str) -> int:
    from cryptoai.data_universe.onchain.records import moment

    try:
        return moment(text)
    except (ValueError, OverflowError):
        raise ConfigError(f"{text!r} is not a day such as 2024-08-08") from None


def _lake(given: Path | None) -> Path:
    return given or Path(load_config().data.lake)
