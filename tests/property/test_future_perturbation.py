"""Nothing known later than t may change a feature at t (invariant 7), and the check itself must catch a leak."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cryptoai.core.clock import MS
from cryptoai.core.errors import DataError
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.features import FeatureEngine, batch
from cryptoai.testing.leaks import Output, change_after, change_facts_after, first_difference
from cryptoai.testing.random_market import START, random_facts, random_tape
from cryptoai.testing.slices import head

MAY_STAND = {f.name for f in schema.FEATURES if f.source == "registry"} | {
    "order_to_trade_5s", "trade_age", "whale_transfers_1h", "news_count_1h", "news_burst_1h",
}  # fmt: skip
"""What depends on the calendar, or on how many rows there were and when, which the change leaves as it was."""
PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"


def tapes() -> tuple[EventArray, EventArray]:
    return head(PERP, 11_000), head(SPOT, 4_900)


def features(given: tuple[Any, ...], leak_ns: int = 0) -> list[Output]:
    """Features each 500 ms; with `leak_ns`, each row sees that much of the future."""
    own, spot, *facts = given
    times = np.arange(own.known_at[0], own.known_at[-1] - leak_ns, 500 * MS)
    rows = batch(FeatureEngine(instrument(PERP), instrument(SPOT)), own, spot, times + leak_ns, facts)
    return [Output(int(t), v.tobytes() + m.tobytes()) for t, v, m in zip(times, rows.values, rows.mask, strict=True)]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_features_up_to_t_do_not_change_with_the_future(share: float) -> None:
    """Bitwise, values and masks, both tapes changed after t."""
    own, _ = tapes()
    moment = int(own.known_at[int(share * len(own))])

    assert first_difference(features, tapes(), moment, np.random.default_rng(5)) is None


def everything(seed: int) -> tuple[Any, ...]:
    """Both tapes of a random market, with a gap, and every kind of fact."""
    generator = np.random.default_rng(seed)
    own, spot = random_tape(generator, 60, gaps=seed % 2), random_tape(generator, 60, price=6_003_000)
    return own, spot, *random_facts(generator, 60)


@pytest.mark.parametrize("seed", range(3))
def test_no_feature_at_all_changes_with_the_future_facts_included(seed: int) -> None:
    """Bitwise over all 200 columns, every tape and every kind of fact changed after a random moment."""
    moment = START + int(np.random.default_rng(seed).integers(35_000, 59_000)) * MS

    assert first_difference(features, everything(seed), moment, np.random.default_rng(5)) is None


def test_each_feature_that_can_change_does_change_with_its_past() -> None:
    """The check above is as strong as this: the same change, made to the past, moves every column that rows can."""
    given, generator = everything(4), np.random.default_rng(5)
    times, seen = START + np.arange(50_000, 60_000, 1_300) * MS, {}
    moment = START - 3 * 86_400_000 * MS
    changed = (
        *(change_after(tape, START + 20_000 * MS, generator) for tape in given[:2]),
        *(change_facts_after(facts, moment, generator) for facts in given[2:]),
    )
    for name, (own, spot, *facts) in (("honest", given), ("changed", changed)):
        rows = batch(FeatureEngine(instrument(PERP), instrument(SPOT)), own, spot, times, facts)
        seen[name] = rows.values
    same = (seen["honest"] == seen["changed"]).all(axis=0)
    still = {f.name for f, s in zip(schema.FEATURES, same, strict=True) if s and f.group != "portfolio"}

    assert still <= MAY_STAND


def test_a_planted_leak_of_one_decision_is_found_where_it_is() -> None:
    """Features that see 500 ms ahead differ in the last row before t, and not earlier."""
    own, _ = tapes()
    moment = int(own.known_at[len(own) // 2])
    found = first_difference(lambda given: features(given, 500 * MS), tapes(), moment, np.random.default_rng(5))

    assert found is not None
    assert moment - 500 * MS <= found.time <= moment


def test_a_missing_or_extra_output_is_a_difference() -> None:
    """A run that stays silent because of the future leaks as well."""
    own, _ = tapes()
    moment = int(own.known_at[100])

    def silent(given: tuple[EventArray, ...]) -> list[Output]:
        return [Output(0, b"a")] if given[0] is own else []

    assert first_difference(silent, (own,), moment, np.random.default_rng(5)) == (0, b"a", None)


def test_a_moment_before_all_outputs_proves_nothing_and_is_refused() -> None:
    """An empty comparison must not pass."""
    with pytest.raises(DataError, match="later moment"):
        first_difference(features, tapes(), 0, np.random.default_rng(5))


def test_the_change_touches_every_row_after_t_and_none_before() -> None:
    """The check is only as strong as the change it makes."""
    own, _ = tapes()
    start = len(own) // 3
    changed = change_after(own, int(own.known_at[start]), np.random.default_rng(5))
    until = own.until(int(own.known_at[start]))
    same = (own.price == changed.price) & (own.qty == changed.qty) & (own.side == changed.side)

    assert same[:until].all()
    assert not same[until:][own.kind[until:] != 2].any()
