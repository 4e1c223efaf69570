"""The quick gates of the world model hold, in one training of a minute."""

from __future__ import annotations

import pytest

from cryptoai.testing.gates.forecast import CHECKS

QUICK = [check for check in CHECKS if check.quick]


def test_every_part_of_the_name_is_forecast() -> None:
    """`--only forecast` finds them all."""
    assert {check.name.partition(".")[0] for check in CHECKS} == {"forecast"}
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@pytest.mark.slow
def test_the_quick_gates_hold() -> None:
    """Every one, from one model; each names what it asks and what the judges got."""
    gates = [gate for check in QUICK for gate in check.run(True)]
    assert [gate.metric for gate in gates if not gate.passed] == []
    assert all(gate.gate for gate in gates)
