"""`cryptoai features`: the Feast repository, from computed rows to what a decision reads.

The plain `feast` command works on the same repository; these commands add what it lacks:
the computation, and staleness.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cryptoai.cli.console import err, out
from cryptoai.cli.settings import load_config, project_root
from cryptoai.core.clock import iso
from cryptoai.core.config import Config

if TYPE_CHECKING:
    from cryptoai.data_universe.adapters.feast_store import FeastStore

__all__ = ["app", "open_store", "store_features"]

app = typer.Typer(no_args_is_help=True, help="Compute features and keep them in Feast, offline and online.")

Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key.")]
Assets = Annotated[list[str], typer.Option("--assets", "-a", help="Symbol; repeat for more.")]


@app.command()
def apply(sets: Sets = None) -> None:
    """Register entity, feature views and the feature service trading_state_v1."""
    config = load_config(sets=sets or [])
    open_store(config).apply()
    out.print(f"applied {config.features.repo}; registry and online store are in {config.features.data}")


@app.command()
def materialize(assets: Assets = ["BTCUSDT"], sets: Sets = None) -> None:  # noqa: B006
    """Compute the features of the whole tape, write them offline, and load the newest into the online store."""
    config = load_config(sets=sets or [])
    store = open_store(config)
    store.apply()
    rows = store_features(config, store, assets)
    out.print(f"{rows:,} rows of 200 features stored and materialised")


@app.command()
def get(asset: str, sets: Sets = None) -> None:
    """Show the newest online state of an asset, as a decision would read it."""
    from cryptoai.cli.tapes import load_feeds
    from cryptoai.data_universe import schema

    config = load_config(sets=sets or [])
    (feed,) = load_feeds(config, [asset])
    state = open_store(config).read(feed.instrument.id, int(feed.events.known_at[-1]))
    table = Table("group", "feature", "value")
    for feature, value, present in zip(schema.FEATURES, state.floats(), state.present(), strict=True):
        table.add_row(feature.group, feature.name, f"{value:.6g}" if present else "[dim]missing[/]")
    out.print(table)
    err.print(f"{sum(state.present())} of {state.width} present, known at {iso(state.known_at)}, hash {state.hash()}")


@app.command()
def history(asset: str, rows: Annotated[int, typer.Option(help="Number of times.")] = 5, sets: Sets = None) -> None:
    """Join the stored history point-in-time through Feast at evenly spaced times, and show the coverage."""
    import numpy as np

    from cryptoai.cli.tapes import load_feeds

    config = load_config(sets=sets or [])
    (feed,) = load_feeds(config, [asset])
    first, last = int(feed.events.known_at[0]), int(feed.events.known_at[-1])
    times = np.linspace(first, last, rows).astype(np.int64)
    _, mask = open_store(config).history(feed.instrument.id, times)
    for time, present in zip(times, mask, strict=True):
        out.print(f"{iso(int(time))}  {int(present.sum())} features known")


def open_store(
    config: Config, online: str | None = None, *, password: str | None = None, project: str | None = None
) -> FeastStore:
    """The store of the configured repository; a relative repository is looked for here, then in the checkout.

    `online` is the host:port of a Redis, None for SQLite; `project` keeps bots that share a Redis apart.
    """
    from cryptoai.data_universe.adapters.feast_store import FeastStore

    repo = Path(config.features.repo)
    if not repo.is_dir() and not repo.is_absolute():
        repo = project_root() / repo
    data, age = Path(config.features.data), config.features.max_age_s
    return FeastStore(repo, data, max_age_s=age, online=online, password=password, project=project)


def store_features(config: Config, store: FeastStore, assets: Sequence[str]) -> int:
    """Writes every row of the assets' tapes offline, loads the newest online; returns the number of rows."""
    from cryptoai.cli.tapes import grid, load_feeds, rows_of

    total = 0
    for feed in load_feeds(config, assets):
        times = grid(config, int(feed.events.known_at[0]), int(feed.events.known_at[-1]))
        store.write_offline(feed.instrument.id, times, rows_of(feed, times))
        store.materialize(int(times[0]), int(times[-1]))
        total += len(times)
    return total
