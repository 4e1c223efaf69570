"""What commands load of an asset: its tapes, and the facts that the lake has of it, its chain and the news."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from cryptoai.cli import tapes
from cryptoai.core.config import Config
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe import lake, lake_facts, schema
from cryptoai.data_universe.asset_registry.registry import REGISTRY_FILE, instrument, of_lake
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.features import FACT_KINDS
from cryptoai.testing.random_market import START, random_facts, random_tape

PERP = "binance_usdm:BTCUSDT"


@pytest.fixture
def facts() -> dict[str, Facts]:
    return {facts.kind: facts for facts in random_facts(np.random.default_rng(3), 5)}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Facts]) -> Config:
    """A lake with facts of the perpetual, of two chains and of the news; its events are given, not stored."""
    tape = random_tape(np.random.default_rng(4), 5)
    monkeypatch.setattr(lake, "available", lambda _root: [PERP])
    monkeypatch.setattr(lake, "read_events", lambda _root, _wanted: tape)
    for kind in ("mark", "positioning"):
        lake_facts.write_facts(tmp_path, PERP, facts[kind], "test")
    for owner in ("chain:BTC", "chain:ETH"):
        lake_facts.write_facts(tmp_path, owner, facts["onchain"], "test")
    lake_facts.write_facts(tmp_path, "wire:ALL", facts["news_scores"], "test")
    lake_facts.write_facts(tmp_path, "binance_usdm:ETHUSDT", facts["funding"], "test")
    made = Config()
    return made.model_copy(update={"data": made.data.model_copy(update={"lake": str(tmp_path)})})


def test_an_asset_comes_with_its_own_facts_and_no_other_s(config: Config) -> None:
    """Its marks, its own chain once, the news of all, not the funding of another instrument."""
    (feed,) = tapes.load_feeds(config, ["BTCUSDT"])
    kinds = [facts.kind for facts in feed.facts]

    assert kinds == [kind for kind in FACT_KINDS if kind in ("mark", "positioning", "onchain", "news_scores")]
    alone = lake_facts.read_facts(Path(config.data.lake), "chain:BTC", "onchain")
    assert feed.facts_of("onchain") is not None
    assert feed.facts[kinds.index("onchain")].fingerprint() == alone.fingerprint()


def test_rows_hold_features_of_the_facts_and_the_fingerprint_knows_them(config: Config) -> None:
    """What was loaded reaches the features; other facts are other data."""
    (feed,) = tapes.load_feeds(config, ["BTCUSDT"])
    rows = tapes.rows_of(feed, np.array([START + 5_000_000_000]))
    bare = tapes.Feed(feed.instrument, feed.events)

    assert rows.mask[0, [schema.index(n) for n in ("mark_premium", "fees_1d", "news_count_1h")]].all()
    assert not rows.mask[0, schema.index("funding_rate")]
    assert tapes.fingerprint([feed]) != tapes.fingerprint([bare])


def _tape(root: Path, made: Instrument) -> None:
    rows = random_tape(np.random.default_rng(4), 5)
    first, last = int(rows.known_at[0]), int(rows.known_at[-1])
    counts = {"lines": 1, "messages": {}, "rows": {"level": len(rows)}, "quarantined_lines": {}, "quarantined_rows": {}}
    zeros = dict.fromkeys(("unsynced_rows", "rounded_rows", "gaps", "clock_error_ns", "held_times"), 0)
    span = {"first_known_at": first, "last_known_at": last, "first_refused": {}, "fingerprint": made.id.encode().hex()}
    report = lake.ImportReport(source="x", instrument=made.id, **counts, **zeros, **span)
    lake.write_events(root, made, rows, report)


def test_an_instrument_is_as_it_was_when_its_tape_began(tmp_path: Path) -> None:
    """Fees of the time from the lake's registry, tick and step from the tape; later versions do not reach back."""
    packaged = instrument(PERP)
    _tape(tmp_path, packaged)
    newer = packaged.model_copy(update={"taker_fee": Decimal("0.009"), "tick": Decimal(1)})
    before, _ = of_lake(tmp_path).updated([newer], START - 1, "venue")
    before.write(tmp_path / REGISTRY_FILE)
    found = tapes.resolved(tmp_path, "BTCUSDT", lake.available(tmp_path)).traded
    assert (found.taker_fee, found.tick) == (Decimal("0.009"), packaged.tick)
    after, _ = of_lake(tmp_path / "other").updated([newer], START + 10**12, "venue")
    after.write(tmp_path / REGISTRY_FILE)
    assert tapes.resolved(tmp_path, "BTCUSDT", lake.available(tmp_path)).traded == packaged


def test_a_tape_that_no_registry_knows_describes_itself(tmp_path: Path) -> None:
    """Captures of other venues can be used like the packaged instruments; an old lake has no registry file."""
    made = instrument(PERP).model_copy(update={"id": "bybit:BTCUSDT"})
    _tape(tmp_path, made)
    assert not (tmp_path / REGISTRY_FILE).exists()
    assert tapes.resolved(tmp_path, "bybit:btcusdt", lake.available(tmp_path)).traded == made


def test_an_asset_is_not_traded_before_it_was_listed(tmp_path: Path) -> None:
    """A tape of before contradicts the registry; other assets of the lake are not in the way."""
    _tape(tmp_path, instrument(PERP))
    young = instrument("binance_usdm:ETHUSDT").model_copy(
        update={"id": "binance_usdm:NEWUSDT", "listed": START + 10**15}
    )
    _tape(tmp_path, young)
    of_lake(tmp_path).updated([young], START, "venue")[0].write(tmp_path / REGISTRY_FILE)
    there = lake.available(tmp_path)
    with pytest.raises(DataError, match="not listed before"):
        tapes.resolved(tmp_path, "NEWUSDT", there)
    assert tapes.resolved(tmp_path, "BTCUSDT", there).traded.id == PERP
