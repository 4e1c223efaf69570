"""The market of carriers: what is planted is there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from cryptoai.data_universe.schema import index
from cryptoai.testing.ablation import without
from cryptoai.testing.market.carriers import BETA, CARRIERS, IDLE, carrier_market

MARKET = carrier_market(0, 20_000)


def slope(name: str) -> float:
    """Of the next return, in basis points, on a shown feature."""
    x = MARKET.values[:, index(name)].astype(float)
    return float(np.cov(x, MARKET.returns * 1e4)[0, 1] / x.var())


def test_each_carrier_moves_the_next_return_by_what_was_planted() -> None:
    """The regression on one carrier alone finds BETA, on an idle look-alike nothing."""
    for name in CARRIERS.values():
        assert slope(name) == pytest.approx(BETA, abs=0.06)
    for name in IDLE.values():
        assert slope(name) == pytest.approx(0.0, abs=0.06)


def test_the_drift_is_the_oracles_forecast() -> None:
    """What is left after it is noise of one basis point that no feature knows."""
    left = (MARKET.returns - MARKET.drift) * 1e4
    assert left.std() == pytest.approx(1.0, abs=0.02)
    for name in (*CARRIERS.values(), *IDLE.values()):
        assert abs(np.corrcoef(MARKET.values[:, index(name)], left)[0, 1]) < 0.03


def test_news_is_missing_where_there_was_none() -> None:
    """Masked thirty rows after the last shock, and zero under the mask."""
    at = index(CARRIERS["events"])
    share = MARKET.mask[:, at].mean()
    assert share == pytest.approx(1 - (14 / 15) ** 30, abs=0.04)
    assert not MARKET.values[~MARKET.mask[:, at], at].any()


def test_the_price_and_the_seed() -> None:
    """Returns are those of the price; the same seed gives the same bytes."""
    assert np.allclose(np.diff(np.log(MARKET.mid)), MARKET.returns[:-1])
    again = carrier_market(0, 20_000)
    assert again.values.tobytes() == MARKET.values.tobytes()
    assert again.mid.tobytes() == MARKET.mid.tobytes()


def test_a_group_that_is_taken_away_is_missing_everywhere() -> None:
    """Its columns are masked and empty, all others are as they were."""
    bare = without(MARKET, "flow")
    assert not bare.mask[:, index("ofi_1s")].any()
    assert not bare.values[:, index("ofi_1s")].any()
    assert np.array_equal(bare.values[:, index("basis")], MARKET.values[:, index("basis")])
    assert np.array_equal(bare.returns, MARKET.returns)
