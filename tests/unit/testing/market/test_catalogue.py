"""Every market of the catalogue: columns of one length, reproducible, and its truth marked as such."""

import numpy as np
import pytest

from cryptoai.core.errors import ConfigError
from cryptoai.testing.market.catalogue import CATALOGUE, TRUTH_PREFIX, columns_of


@pytest.mark.parametrize("name", CATALOGUE)
def test_columns_have_one_length_and_follow_from_the_seed(name: str) -> None:
    """Some columns to see, some of truth, numbers in all; another seed gives another market."""
    first, again, other = (columns_of(name, seed, 300) for seed in (1, 1, 2))
    assert {len(column) for column in first.values()} == {300}
    truth = [key for key in first if key.startswith(TRUTH_PREFIX)]
    assert 0 < len(truth) < len(first)
    assert all(np.isfinite(first[key]).all() for key in truth)
    assert all(first[key].tobytes() == again[key].tobytes() for key in first)
    seen = next(key for key in first if key not in truth and key != "row_time_ns")
    assert first[seen].tobytes() != other[seen].tobytes()


@pytest.mark.parametrize("name", CATALOGUE)
def test_what_is_seen_does_not_hold_the_truth(name: str) -> None:
    """No column to see equals a column of truth, the signal of a market that shows it apart."""
    columns = columns_of(name, 3, 300)
    truth = {key: value for key, value in columns.items() if key.startswith(TRUTH_PREFIX)}
    for key in columns.keys() - truth.keys():
        assert not any(np.array_equal(columns[key].astype(float), value.astype(float)) for value in truth.values()), key


def test_oracles_in_columns_are_the_markets_own() -> None:
    """The probability of the hidden regime names it on most rows of the regime market."""
    columns = columns_of("regimes", 1, 20_000)
    best = np.stack([columns[f"truth_p_{k}"] for k in range(3)]).argmax(0)
    assert (best == columns["truth_regime"]).mean() > 0.84


def test_a_wrong_name_and_a_short_market_are_refused() -> None:
    """With the names that there are, and the least number of rows."""
    with pytest.raises(ConfigError, match="hawkes"):
        columns_of("hawk", 0, 1000)
    with pytest.raises(ConfigError, match="at least 100"):
        columns_of("hawkes", 0, 10)
