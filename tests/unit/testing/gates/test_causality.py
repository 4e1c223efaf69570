"""The gates of causality hold on the quick run, and the baselines that should fail do."""

from __future__ import annotations

import pytest

from cryptoai.testing.gates import Gate
from cryptoai.testing.gates.causality import CHECKS

pytestmark = pytest.mark.slow


def run(name: str) -> dict[str, Gate]:
    (check,) = [check for check in CHECKS if check.name == name]
    return {gate.metric: gate for gate in check.run(True)}


def test_planted_graphs_are_found_and_lagged_correlation_does_not_find_them() -> None:
    """Every gate passes, and the naive graph is below both F1 gates and full of links on noise."""
    gates = run("causality.graph")
    assert all(gate.passed for gate in gates.values()), gates
    assert gates["link F1, 8 nodes, 2,000 rows"].baselines["correlation"] < 0.6
    assert gates["link F1, 8 nodes, 500 rows, GARCH-t4"].baselines["correlation"] < 0.7
    assert gates["graphs with a link where none is planted"].baselines["correlation"] > 0.3


def test_shadows_of_a_hidden_driver_are_found_and_not_called_certain() -> None:
    """The link is there in nearly every run, so the doubt has something to do."""
    gates = run("causality.hidden")
    assert all(gate.passed for gate in gates.values()), gates
    assert gates["a hidden driver's shadow passes as certain, 2,000 rows"].baselines["pcmci without doubts"] > 0.9


def test_effects_match_the_twin_run_and_the_naive_regression_does_not() -> None:
    """Within a tenth in the worst seed, where the naive path is off by a third and its intervals miss."""
    gates = run("causality.counterfactual")
    assert all(gate.passed for gate in gates.values()), gates
    assert gates["effect path against the twin run, linear policy"].baselines["naive"] > 0.3
    assert gates["effect path against the twin run, curved policy"].baselines["linear"] > 0.1
    assert gates["placebo: the interval contains 0"].baselines["naive"] < 0.2
