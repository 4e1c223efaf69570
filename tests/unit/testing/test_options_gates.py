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
    """Cost and turnover never raise turnover, cvar lowers the tail loss, and being told of a weight pays."""
    gates = weights(quick=True)
    assert [gate.passed for gate in gates] == [True] * 4
    assert gates[0].ours > 0.15
    assert gates[3].ours > gates[3].baselines["not told"]


def test_every_check_is_of_the_part() -> None:
    """Names begin with the part, so that the command can pick them."""
    assert [check.name for check in CHECKS] == [
        "options.meta", "options.imagination", "options.weights", "options.noise",
    ]  # fmt: skip
