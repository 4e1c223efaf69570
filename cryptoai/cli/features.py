"""`cryptoai features`: the Feast repository, from computed rows to what a decision reads.

The plain `feast` command works on the same store, in the folder that `apply` prepares; these commands add what it
lacks: the computation, the packed copy for trading, and staleness.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cryptoai.cli.console import err, out, progress
from cryptoai.cli.settings import load_config, project_root
from cryptoai.core.clock import MS, SECOND, iso
from cryptoai.core.config import Config

if TYPE_CHECKING:
    from cryptoai.backtesting.market import Feed
    from cryptoai.core.state import StateVector
    from cryptoai.data_universe.adapters.feast_store import FeastStore

__all__ = ["app", "open_store", "store_features"]

app = typer.Typer(no_args_is_help=True, help="Compute features and keep them in Feast, offline and online.")

Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key.")]
Assets = Annotated[list[str], typer.Option("--assets", "-a", help="Symbol; repeat for more.")]
Asset = Annotated[str, typer.Argument(help="Symbol, for example BTCUSDT.")]
Redis = Annotated[
    str | None,
    typer.Option(
        envvar="CRYPTOAI_REDIS",
        help="Online store: host:port or rediss://host:port; default: SQLite in features.data. The password is in"
        " CRYPTOAI_REDIS_PASSWORD, the CA's file in CRYPTOAI_REDIS_CA.",
    ),
]
Project = Annotated[str | None, typer.Option(help="Feast project; bots that share a Redis have one each.")]


@app.command()
def apply(sets: Sets = None, redis: Redis = None, project: Project = None) -> None:
    """Register entity, feature views and services, and prepare features.data for the plain feast command."""
    from cryptoai.data_universe import schema

    config = load_config(sets=sets or [])
    open_store(config, redis, project=project).apply()
    groups = len(schema.STORED_GROUPS)
    out.print(f"registered {groups} feature views, 1 on-demand view and 2 services from {config.features.repo}")
    out.print(f"plain Feast works there too: feast --chdir {config.features.data} feature-views list")


@app.command()
def materialize(
    assets: Assets = ["BTCUSDT"],  # noqa: B006
    full: Annotated[bool, typer.Option("--full", help="Compute every row again and load from the first on.")] = False,
    sets: Sets = None,
    redis: Redis = None,
    project: Project = None,
) -> None:
    """Compute the features of the tapes, write them offline, and load the newest into the online store.

    Only what changed: rows are computed for a tape that is new or grew, and loaded if they are newer than what is
    online.
    """
    config = load_config(sets=sets or [])
    store = open_store(config, redis, project=project)
    store.apply()
    rows, moved = store_features(config, store, assets, full=full)
    out.print(f"{rows:,} rows of features computed, history in {store.past.folder}")
    out.print(f"loaded online: {', '.join(moved)}" if moved else "the online store was up to date")


@app.command()
def get(
    asset: Asset,
    sdk: Annotated[bool, typer.Option("--sdk", help="Ask Feast as well, and compare.")] = False,
    sets: Sets = None,
    redis: Redis = None,
    project: Project = None,
) -> None:
    """Show the newest online state of an asset, as a decision at the end of its tape would read it."""
    from cryptoai.cli.tapes import load_feeds

    config = load_config(sets=sets or [])
    (feed,) = load_feeds(config, [asset])
    store = open_store(config, redis, project=project)
    now = int(feed.events.known_at[-1])
    state = store.read(feed.instrument.id, now)
    _show(state, store.feed_ages, {group: limit / SECOND for group, limit in store.allowed.items()})
    if not any(state.present()):
        err.print("nothing is stored, or all of it is too old: run `cryptoai features materialize` or `push`")
    if sdk:
        same = store.read_sdk(feed.instrument.id, now) == state
        err.print("Feast gives the same" if same else "[bold red]Feast gives another state[/]")
        raise typer.Exit(0 if same else 1)


@app.command()
def history(
    asset: Asset,
    rows: Annotated[int, typer.Option(min=1, help="Number of moments.")] = 5,
    feast: Annotated[bool, typer.Option("--feast", help="Use Feast's own join instead of ours, and compare.")] = False,
    save: Annotated[Path | None, typer.Option("--out", help="Write the training set to this .npz file.")] = None,
    sets: Sets = None,
) -> None:
    """Join the stored history point-in-time at evenly spaced moments, and show what was known."""
    import numpy as np

    from cryptoai.cli.tapes import load_feeds
    from cryptoai.data_universe.history import History
    from cryptoai.data_universe.packed import limits

    config = load_config(sets=sets or [])
    (feed,) = load_feeds(config, [asset])
    past = History(Path(config.features.data) / "offline")
    times = np.linspace(*past.span(feed.instrument.id), rows).astype(np.int64) // 1000 * 1000
    joined = past.join(feed.instrument.id, times, limits(config.features))
    for moment, present in zip(times, joined.mask, strict=True):
        out.print(f"{iso(int(moment))}  {int(present.sum())} features known")
    if save is not None:
        np.savez_compressed(save, times=times, values=joined.values, mask=joined.mask)
        out.print(f"wrote {rows:,} x {joined.values.shape[1]} to {save}")
    if feast:
        values, mask = open_store(config).history(feed.instrument.id, times)
        same = bool(np.array_equal(mask, joined.mask) and np.array_equal(values.astype(np.float32), joined.values))
        err.print("Feast's join gives the same" if same else "[bold red]Feast's join gives other numbers[/]")
        raise typer.Exit(0 if same else 1)


@app.command()
def push(
    asset: Asset,
    rows: Annotated[int, typer.Option(min=1, help="States to push, the last ones of the tape.")] = 100,
    speed: Annotated[float, typer.Option(min=0, help="1 = as recorded, 0 = as fast as possible.")] = 0.0,
    sets: Sets = None,
    redis: Redis = None,
    project: Project = None,
) -> None:
    """Stream the end of an asset's tape through the feature engine into the online store, one state each sample."""
    from cryptoai.cli.tapes import load_feeds

    config = load_config(sets=sets or [])
    (feed,) = load_feeds(config, [asset])
    store = open_store(config, redis, project=project)
    store.apply()
    spent, states = [], _last_states(config, feed, rows)
    with progress("states pushed") as advance:
        for k, (state, facts) in enumerate(states):
            begun = time.perf_counter()
            if store.push(state, group_times=facts):
                spent.append(1000 * (time.perf_counter() - begun))
            advance(k + 1, rows, iso(state.known_at))
            time.sleep(config.data.sample_ms / 1000 / speed if speed else 0)
    out.print(f"states pushed: {len(spent):,}" + (f", p50 {statistics.median(spent):.1f} ms each" if spent else ""))
    if len(spent) < len(states):
        out.print(f"refused: {len(states) - len(spent):,}; the online store already has newer ones")


def open_store(
    config: Config, online: str | None = None, *, password: str | None = None, project: str | None = None
) -> FeastStore:
    """The store of the configured repository; a relative repository is looked for here, then in the checkout.

    `online` is the address of a Redis, None for SQLite; `project` keeps bots that share a Redis apart. The environment
    may hold CRYPTOAI_REDIS_PASSWORD, CRYPTOAI_REDIS_CA and CRYPTOAI_REGISTRY (SQLAlchemy URL of a shared registry).
    """
    from cryptoai.data_universe.adapters.feast_store import FeastStore
    from cryptoai.data_universe.adapters.hot_store import RedisAddress
    from cryptoai.data_universe.packed import limits

    repo = Path(config.features.repo)
    if not repo.is_dir() and not repo.is_absolute():
        repo = project_root() / repo
    secret = password or os.environ.get("CRYPTOAI_REDIS_PASSWORD") or None
    options = {
        "password": secret,
        "ca": os.environ.get("CRYPTOAI_REDIS_CA") or None,
        "timeout_s": config.features.redis_timeout_ms / 1000,
    }
    return FeastStore(
        repo,
        Path(config.features.data),
        allowed=limits(config.features),
        online=RedisAddress.parse(online, **options) if online else None,
        project=project,
        registry=os.environ.get("CRYPTOAI_REGISTRY") or None,
    )


def store_features(
    config: Config, store: FeastStore, assets: Sequence[str], *, full: bool = False
) -> tuple[int, list[str]]:
    """Writes the rows of the assets' tapes offline and loads the newest online.

    Returns the number of rows that were computed and the instruments whose online state moved.
    """
    from cryptoai.cli.history import write_history
    from cryptoai.cli.tapes import load_feeds

    rows = sum(write_history(config, store.past, feed, again=full) for feed in load_feeds(config, assets))
    last = max(store.past.span(name)[1] for name in store.past.instruments())
    return rows, store.materialize(0 if full else None, last)


def _last_states(config: Config, feed: Feed, rows: int) -> list[tuple[StateVector, dict[str, int]]]:
    """The last states of a tape, each with the event times of the groups that have facts."""
    from cryptoai.cli.history import sample_times
    from cryptoai.cli.tapes import rows_of
    from cryptoai.core.state import StateVector
    from cryptoai.data_universe.freshness import Freshness
    from cryptoai.data_universe.schema import SCHEMA_HASH

    last = int(feed.events.known_at[-1])
    times = sample_times(config, max(0, last - rows * config.data.sample_ms * MS), last)[-rows:]
    made = rows_of(feed, times)
    facts = Freshness(feed.facts).times(times, made.event_times)
    return [
        (
            StateVector.of(feed.instrument.id, (int(event), int(moment)), SCHEMA_HASH, values.tolist(), mask.tolist()),
            {group: int(each[k]) for group, each in facts.items()},
        )
        for k, (moment, event, values, mask) in enumerate(
            zip(times, made.event_times, made.values, made.mask, strict=True)
        )
    ]


def _show(state: StateVector, ages: dict[str, float], allowed: dict[str, float]) -> None:
    from cryptoai.data_universe import schema

    table = Table("group", "feature", "value")
    for feature, value, present in zip(schema.FEATURES, state.floats(), state.present(), strict=True):
        table.add_row(feature.group, feature.name, f"{value:.6g}" if present else "[dim]missing[/]")
    out.print(table)
    feeds = Table("group", "age s", "limit s")
    for group, age in ages.items():
        feeds.add_row(group, f"[red]{age:.3f}[/]" if age > allowed[group] else f"{age:.3f}", f"{allowed[group]:g}")
    out.print(feeds)
    known = f"known at {iso(state.known_at)}, hash {state.hash()}" if state.known_at else "nothing known"
    err.print(f"{sum(state.present())} of {state.width} present, {known}")
