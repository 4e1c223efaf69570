"""The quick gates of training hold, each in one run."""

import pytest

from cryptoai.testing.gates import checks


@pytest.mark.slow
@pytest.mark.parametrize("check", checks(("training",)), ids=lambda check: check.name)
def test_the_quick_gates_hold(check) -> None:
    """Resumed, in two processes, with permuted labels, with broken steps, and by size."""
    for gate in check.run(True):
        assert gate.passed, f"{gate.metric}: {gate.ours} against {gate.gate}; {gate.note}"
