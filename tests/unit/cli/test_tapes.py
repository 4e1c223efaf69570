"""What commands load of an asset: its tapes, and the facts that the lake has of it, its chain and the news."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryptoai.cli import tapes
from cryptoai.core.config import Config
from cryptoai.data_universe import lake, lake_facts, schema
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
