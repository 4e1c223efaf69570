"""From asset names to recorded events, windows and training rows: what several commands need before they start.

Reads the lake and computes; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.windows import Split, split
from cryptoai.core.clock import MS
from cryptoai.core.config import Config
from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe import lake, lake_facts
from cryptoai.data_universe.asset_registry.history import Registry
from cryptoai.data_universe.asset_registry.registry import Resolved, of_lake, resolve
from cryptoai.data_universe.events import EventArray, Ints
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.features import FACT_KINDS, Batch, FeatureEngine, batch

__all__ = ["fingerprint", "load_feeds", "resolved", "rows_of", "windows"]


def load_feeds(config: Config, assets: Sequence[str]) -> tuple[Feed, ...]:
    """The tape of each asset with its spot companion and the facts that the lake has of it, its chain and the news.

    DataError names an asset without data and lists what there is.
    """
    root = Path(config.data.lake)
    available = lake.available(root)
    if not available:
        raise DataError(f"the lake {root} is empty; fill it with `cryptoai data import --sample` or a capture of yours")
    return tuple(_feed(root, asset, available) for asset in dict.fromkeys(assets))


def windows(config: Config, feeds: Sequence[Feed]) -> Split:
    """The train and test windows over the time that all feeds cover."""
    first = max(int(feed.events.known_at[0]) for feed in feeds)
    last = min(int(feed.events.known_at[-1]) for feed in feeds)
    if first >= last:
        raise DataError("the tapes of these assets do not overlap in time; trade them one by one")
    return split(first, last, config.data, label_ns=config.execution.decision_interval_ms * MS)


def rows_of(feed: Feed, times: Ints) -> Batch:
    """The features of a feed at `times`, by the kernel that trading streams through."""
    engine = FeatureEngine(feed.instrument, feed.companion)
    return batch(engine, feed.events, feed.companion_events, times, feed.facts)


def fingerprint(feeds: Sequence[Feed]) -> str:
    """32 hex digits over every event and fact of every feed."""
    parts: list[EventArray | Facts] = []
    for feed in feeds:
        parts += [feed.events, *([feed.companion_events] if feed.companion_events is not None else []), *feed.facts]
    return content_hash("|".join(part.fingerprint() for part in parts).encode(), 32)


def resolved(root: Path, asset: str, available: Sequence[str]) -> Resolved:
    """What an asset name means, each instrument as it was when its tape began; `available` are those with events.

    DataError if nothing matches, or if what matches was not listed then.
    """
    known: dict[str, Instrument] = {}
    registry = of_lake(root)
    for name in available:
        try:
            known[name] = _at_its_time(root, registry, name)
        except DataError:
            if asset.strip().lower() in (name.lower(), name.split(":", 1)[-1].lower()):
                raise
    return resolve(asset, known, known)


def _at_its_time(root: Path, registry: Registry, name: str) -> Instrument:
    """As the lake's registry knew it, else as its tape describes it; the tick and step are those of the tape."""
    tape = next(iter(lake.parts(root, name, [])), None)
    if tape is None:
        return registry.instrument(name)
    if name not in registry.ids:
        return tape.instrument
    made = registry.instrument(name, tape.first)
    return made.model_copy(update={"tick": tape.instrument.tick, "step": tape.instrument.step})


def _feed(root: Path, asset: str, available: Sequence[str]) -> Feed:
    found = resolved(root, asset, available)
    events = lake.read_events(root, found.traded)
    if len(events) == 0:
        raise DataError(f"{asset}: the tape of {found.traded.id} in {root} holds no rows; import it again")
    facts = _facts(root, found.traded)
    if found.companion is None:
        return Feed(found.traded, events, facts=facts)
    return Feed(found.traded, events, found.companion, lake.read_events(root, found.companion), facts)


def _facts(root: Path, instrument: Instrument) -> tuple[Facts, ...]:
    """One item for each kind that features are made of and that the lake has, in the order of the kinds."""
    found: dict[str, list[Facts]] = {kind: [] for kind in FACT_KINDS}
    for name, kind in lake_facts.available_facts(root):
        if kind in found and _concerns(name, kind, instrument):
            found[kind].append(lake_facts.read_facts(root, name, kind))
    return tuple(Facts.joined(kind, pieces) for kind, pieces in found.items() if pieces)


def _concerns(name: str, kind: str, instrument: Instrument) -> bool:
    """Facts of the instrument itself, of its base asset's chain, and news about its base asset or about all."""
    if kind == "onchain":
        return name == f"chain:{instrument.base}"
    if kind == "news_scores":
        return name.split(":", 1)[1] in ("ALL", instrument.base)
    return name == instrument.id
