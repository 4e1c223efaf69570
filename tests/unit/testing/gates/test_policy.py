"""The quick policy gates hold, and the figures they are made of can miss."""

import pytest
import torch

from cryptoai.testing.gates import checks
from cryptoai.testing.gates.policy import _merton_gates, _noise_gate, _shuffled_gate, _trading_gate

torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("check", [check for check in checks(("policy",)) if check.quick], ids=lambda check: check.name)
def test_the_quick_gates_hold(check) -> None:
    """Each gate passes, with its oracle beside it."""
    for gate in check.run(True):
        assert gate.passed, f"{gate.metric}: {gate.ours} against {gate.gate}; {gate.note}"
        assert gate.oracle is not None


def test_twice_the_optimal_leverage_misses_and_reads_zero() -> None:
    """A learner that doubled the optimum fails both gates of leverage; one at .95 of it passes both."""
    assert [gate.passed for gate in _merton_gates("PPO", [4.0])] == [False, False]
    assert _merton_gates("PPO", [4.0])[1].ours == pytest.approx(0.0)
    assert [gate.passed for gate in _merton_gates("PPO", [1.9])] == [True, True]


def test_trading_must_be_good_and_not_behind_the_judge() -> None:
    """The median decides: below .95 fails, and so does .96 where the judge has .98."""
    assert not _trading_gate("x", [0.94, 0.99, 0.90], [0.9]).passed
    assert not _trading_gate("x", [0.96, 0.96, 0.96], [0.98]).passed
    assert _trading_gate("x", [0.96, 0.97, 0.50], [0.965]).passed


def test_an_edge_from_noise_is_caught() -> None:
    """One seed whose interval leaves 0 fails the noise gate, and skill from shuffled labels fails the other."""
    assert _noise_gate([(0.0, -0.01, 0.01)]).passed
    assert not _noise_gate([(0.0, -0.01, 0.01), (0.03, 0.01, 0.05)]).passed
    assert not _shuffled_gate([0.2, 0.25, 0.22]).passed
