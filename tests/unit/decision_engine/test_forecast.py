"""What a decision says of its forecast: the mixture's own numbers."""

from __future__ import annotations

import pytest
import torch

from cryptoai.decision_engine.forecast import QUANTILES, REGIMES, horizon_names, outlook
from cryptoai.world_model import HORIZONS, ReturnMixture


def mixture(seed: int, narrow: float = 0.1) -> ReturnMixture:
    draws = torch.Generator().manual_seed(seed)
    shape = (1, len(HORIZONS), 25)
    scale = narrow + 2 * torch.rand(shape, generator=draws) ** 3
    return ReturnMixture(torch.randn(shape, generator=draws), torch.randn(shape, generator=draws), scale)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("narrow", [0.02, 0.5])
def test_quantiles_moments_and_regimes_are_those_of_the_mixture(seed: int, narrow: float) -> None:
    """Of any shape, down to the narrowest component there is; each quantile has its probability."""
    given = mixture(seed, narrow)
    said = outlook(*(part[0].double().numpy() for part in (given.weights, given.loc, given.scale)))
    for name, p in QUANTILES.items():
        at = torch.full((1, len(HORIZONS)), said.quantiles[name])
        assert float(given.cdf(at)[0, 0]) == pytest.approx(p, abs=2e-5)
    assert said.mean == pytest.approx(given.mean[0].tolist(), abs=1e-5)
    assert said.sd == pytest.approx(given.sd[0].tolist(), rel=1e-4)
    edge = torch.full((1, len(HORIZONS)), 0.5)
    calm = float((given.cdf(edge) - given.cdf(-edge))[0, 0])
    assert said.regime["calm"] == pytest.approx(calm, abs=1e-5)
    assert sum(said.regime.values()) == pytest.approx(1.0)
    assert set(said.regime) == set(REGIMES)


def test_horizons_are_named_by_their_time() -> None:
    """In seconds, whatever the interval of decisions."""
    assert horizon_names(1000) == ("1s", "4s", "16s", "64s")
    assert horizon_names(500)[0] == "0.5s"
