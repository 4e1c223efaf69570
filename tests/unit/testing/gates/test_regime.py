"""The gates of regimes, breaks and order flow hold on little data, and their referee counts rightly."""

import numpy as np
import pytest

from cryptoai.testing.gates import checks
from cryptoai.testing.gates.regime import _judge
from cryptoai.testing.market.breaks import BreakMarket


@pytest.mark.slow
@pytest.mark.parametrize("check", checks(("regime",)), ids=lambda check: check.name)
def test_the_quick_gates_hold(check) -> None:
    """Each gate passes, with its baselines and its oracle beside it."""
    for gate in check.run(True):
        assert gate.passed, f"{gate.metric}: {gate.ours} against {gate.gate}; {gate.note}"
        assert gate.oracle is not None


def test_the_referee_of_alarms_counts_by_hand() -> None:
    """One found after 3 rows, one missed, one falling break that is not asked for, one false alarm."""
    breaks = np.array([100, 300, 500])
    level = (np.searchsorted(breaks, np.arange(1000), side="right") % 2).astype(np.int8)
    market = BreakMarket(np.zeros(1000), level, breaks, "volatility", 1.0)
    path = np.zeros(1000, dtype=bool)
    path[50:60] = True  # false
    path[103:110] = True  # 3 rows after the rise at 100
    path[115:120] = True  # again, near a true break: not false
    path[302:310] = True  # answers the fall at 300: neither found nor false
    path[560:570] = True  # 60 rows after the rise at 500: too late, and false
    found = _judge([path], [market])
    assert found.delays.tolist() == [3.0, np.inf]
    assert found.false == 2
    assert found.rate == 2.0
    assert "missed 50.0%" in found.text()


def test_an_alarm_that_already_stands_is_no_detection() -> None:
    """An alarm without end rises once, before everything, and finds nothing."""
    level = (np.arange(500) >= 200).astype(np.int8)
    market = BreakMarket(np.zeros(500), level, np.array([200]), "volatility", 1.0)
    found = _judge([np.ones(500, dtype=bool)], [market])
    assert np.isinf(found.delays).all()
    assert found.false == 1
