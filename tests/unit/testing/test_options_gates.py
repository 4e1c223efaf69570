"""The quick gates of the options, with the margin that they had when they were written."""

import pytest
import torch

from cryptoai.testing.gates.options import CHECKS, meta, weights

torch.set_num_threads(1)


@pytest.mark.slow
def test_the_meta_controller_finds_the_hidden_side() -> None:
    """Above .85 of the filter optimum, above every option and above the best recent record, which also beats them."""
    (gate,) = meta(quick=True)
    assert gate.passed
    assert gate.ours > 0.88
    assert gate.ours > gate.baselines["best recent record"] + 0.05 > 0.5
    assert max(gate.baselines[name] for name in ("trend", "revert", "random switching")) < 0


@pytest.mark.slow
def test_weights_move_what_they_weigh() -> None:
    """A heavier cost lowers turnover and a heavier cvar the tail loss, step by step; the weight of turnover is too weak
    to be told from training's own noise, which the gate says.
    """
    cost, turnover, cvar, _ = weights(quick=True)
    assert cost.passed
    assert cost.ours > 0.15
    assert cvar.passed
    assert cvar.ours > 0.1
    assert abs(turnover.ours) < 0.05


def test_every_check_is_of_the_part() -> None:
    """Names begin with the part, so that the command can pick them."""
    assert [check.name for check in CHECKS] == [
        "options.meta", "options.imagination", "options.weights", "options.noise",
    ]  # fmt: skip
