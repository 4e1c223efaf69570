"""The honesty of the gates of real data: a verdict is what the interval says, and a wrong forecast is caught."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cryptoai.testing.gates import checks
from cryptoai.testing.gates.real import LEVELS, Walked, _gates


def walked(scale: float = 1.0, edge: float = 0.0, rows: int = 2000) -> Walked:
    """Student-t returns that were forecast with `scale` times their true scale, and a policy with an edge."""
    draws = np.random.default_rng(0)
    x = stats.t.rvs(4, size=rows, random_state=draws)
    net = {"ours": edge + draws.normal(size=rows), "flat": np.zeros(rows)}
    score = {name: draws.normal(size=rows) for name in ("ours", "unconditional", "boosting")}
    limits = {level: np.full(rows, scale * stats.t.ppf(0.5 + level / 2, 4)) for level in LEVELS}
    return Walked(stats.t.cdf(x / scale, 4), np.abs(x), limits, score, net, 1)


def passed(found: Walked) -> dict[str, bool]:
    return {gate.metric.split(": ")[1]: gate.passed for gate in _gates("x", found, np.random.default_rng(1))}


def test_a_calibrated_forecast_without_an_edge_passes() -> None:
    """No edge is a result: every gate holds, and the note says that it cannot be told from zero."""
    assert all(passed(walked()).values())
    net = list(_gates("x", walked(), np.random.default_rng(1)))[-1]
    assert "cannot be told from zero" in net.note
    assert "deflated for 5 trials" in net.note
    assert set(net.baselines) == {"flat"}


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_a_forecast_that_is_too_sure_or_too_timid_fails(scale: float) -> None:
    """A fifth off in scale: the coverage is told as missed, while tracked limits find their way back."""
    found = passed(walked(scale))
    assert not found["largest miss of 50/90/99 % coverage"]
    assert found["the same with tracked limits"]


@pytest.mark.parametrize(("edge", "said"), [(0.2, "above zero"), (-0.2, "below zero")])
def test_an_edge_and_a_loss_are_called_by_their_names(edge: float, said: str) -> None:
    """The verdict is the interval's; the gate of the report passes either way."""
    net = list(_gates("x", walked(edge=edge), np.random.default_rng(1)))[-1]
    assert said in net.note
    assert net.passed


@pytest.mark.slow
@pytest.mark.parametrize("check", checks(("real",)), ids=lambda check: check.name)
def test_the_quick_checks_report_with_intervals(check) -> None:
    """Whatever they find, every reported line has its interval; without data they say so."""
    for gate in check.run(True):
        assert "verdict:" in gate.note or "covered" in gate.note or "rate" in gate.note or "absent" in gate.note
