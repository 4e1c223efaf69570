"""The gates of the tails hold on the quick run, and the baselines that should fail do."""

from __future__ import annotations

import pytest
import torch

from cryptoai.testing.gates import Gate, tails
from cryptoai.testing.gates.tails import CHECKS

pytestmark = pytest.mark.slow
torch.set_num_threads(1)


def run(name: str) -> dict[str, Gate]:
    (check,) = [check for check in CHECKS if check.name == name]
    gates = {gate.metric: gate for gate in check.run(True)}
    assert all(gate.passed for gate in gates.values()), gates
    return gates


def test_value_at_risk_covers_and_the_baselines_do_not() -> None:
    """Normal shocks and history without a filter are rejected in at least every third market."""
    gates = run("tails.value_at_risk")
    for name in ("Kupiec", "Christoffersen"):
        assert min(gates[f"VaR rejected by {name}"].baselines.values()) > 0.33


def test_the_shortfall_and_the_shape_are_those_planted() -> None:
    """The normal shortfall is rejected always."""
    assert run("tails.shortfall")["97.5 % shortfall rejected"].baselines["garch-normal"] == 1.0
    run("tails.shape")


def test_limits_follow_breaks() -> None:
    """A rolling window falls below .7 in its worst stretch."""
    assert run("tails.conformal")["worst 250 steps of it"].baselines["rolling window"] < 0.7


def test_the_anomaly_score_that_ships_is_the_better_one() -> None:
    """A forest of single features sees nothing of a broken dependence."""
    assert run("tails.anomaly")["anomaly AUROC"].baselines["isolation forest"] < 0.6


def test_cascades_are_foreseen_by_their_mechanism() -> None:
    """Volatility alone is near chance."""
    assert run("tails.cascade")["cascade AUROC"].baselines["volatility"] < 0.6


def test_absent_candles_are_left_out_and_said_so(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no figure, no failure."""
    monkeypatch.setattr(tails, "CANDLES", tmp_path)
    for name in ("tails.candles", "tails.liquidations"):
        (gate,) = run(name).values()
        assert "left out" in gate.note


@pytest.mark.skipif(not tails.CANDLES.exists(), reason="no candles in shared/data beside the checkout")
def test_real_candles_are_covered() -> None:
    """Two years of hours, long and short: history alone is rejected in most stretches."""
    gates = run("tails.candles")
    assert gates["real VaR, 3,000 steps rejected by Christoffersen"].baselines["historical"] > 0.5
