"""Nothing known later than t may change a feature at t (invariant 7), and the check itself must catch a leak."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.core.clock import MS
from cryptoai.core.errors import DataError
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.features import FeatureEngine, batch
from cryptoai.testing.leaks import Output, change_after, first_difference
from cryptoai.testing.slices import head

PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"


def tapes() -> tuple[EventArray, EventArray]:
    return head(PERP, 11_000), head(SPOT, 4_900)


def features(given: tuple[EventArray, ...], leak_ns: int = 0) -> list[Output]:
    """Features each 500 ms; with `leak_ns`, each row sees that much of the future."""
    own, spot = given
    times = np.arange(own.known_at[0], own.known_at[-1] - leak_ns, 500 * MS)
    rows = batch(FeatureEngine(instrument(PERP), instrument(SPOT)), own, spot, times + leak_ns)
    return [Output(int(t), v.tobytes() + m.tobytes()) for t, v, m in zip(times, rows.values, rows.mask, strict=True)]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_features_up_to_t_do_not_change_with_the_future(share: float) -> None:
    """Bitwise, values and masks, both tapes changed after t."""
    own, _ = tapes()
    moment = int(own.known_at[int(share * len(own))])

    assert first_difference(features, tapes(), moment, np.random.default_rng(5)) is None


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
