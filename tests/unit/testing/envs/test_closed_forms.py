"""The environments' own truth: exact costs, exact optima, and rewards that average to them."""

import pytest
import torch

from cryptoai.testing.envs import almgren_chriss as slices
from cryptoai.testing.envs.garleanu_pedersen import GarleanuPedersen
from cryptoai.testing.envs.merton import Merton


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_almgren_chriss_costs_are_the_published_ones() -> None:
    """Optimal .39076, equal slices .66525, all at once 2.0."""
    at_once = torch.zeros(slices.SLICES + 1, dtype=torch.float64)
    at_once[0] = 1.0
    assert slices.cost(slices.optimal_schedule()) == pytest.approx(0.39076, abs=5e-6)
    assert slices.cost(slices.twap()) == pytest.approx(0.66525, abs=5e-6)
    assert slices.cost(at_once) == pytest.approx(2.0)


def test_almgren_chriss_optimum_cannot_be_bettered_nearby() -> None:
    """Every small change of the schedule costs more: it is the minimum, not just the formula."""
    best = slices.optimal_schedule()
    shifts = 1e-2 * torch.randn(50, slices.SLICES - 1, generator=seeded(), dtype=torch.float64)
    for shift in shifts:
        moved = best.clone()
        moved[1:-1] += shift
        assert slices.cost(moved) > slices.cost(best)


def test_almgren_chriss_rewards_add_up_to_the_cost() -> None:
    """Noise apart, a policy that follows the optimal schedule is paid minus its cost, less the permanent impact."""
    best = slices.optimal_schedule().float()
    lives = slices.AlmgrenChriss(20_000, seeded())
    total = torch.zeros(20_000)
    for number in range(slices.SLICES):
        part = 1.0 - best[number + 1] / best[number]
        moment = lives.step(torch.full((20_000, 1), float(2.0 * part - 1.0)))
        total += moment.reward
    assert moment.terminated.all()
    unit = slices.SIGMA * slices.TAU**0.5
    expected = -(slices.cost(slices.optimal_schedule()) - 0.5 * slices.GAMMA) / unit
    assert float(total.mean()) == pytest.approx(expected, abs=0.05)


def test_almgren_chriss_schedule_follows_the_policy() -> None:
    """Half of what is left at each step, and all of it at the last."""
    held = slices.schedule(lambda observation: torch.zeros(len(observation), 1))
    assert held[:4].tolist() == pytest.approx([1.0, 0.5, 0.25, 0.125])
    assert float(held[-1]) == 0.0


def test_merton_worth_of_a_leverage_is_exact() -> None:
    """f times the optimum is worth 2 f - f^2 of it: .75, .99, 1, .75 and nothing at twice."""
    market = Merton(1, seeded())
    assert market.optimum == pytest.approx(2.0)
    worth = [market.capture(f * market.optimum) for f in (0.5, 0.9, 1.0, 1.5, 2.0)]
    assert worth == pytest.approx([0.75, 0.99, 1.0, 0.75, 0.0])


@pytest.mark.parametrize("leverage", [1.0, 2.0, 4.0])
def test_merton_rewards_average_to_the_utility(leverage: float) -> None:
    """Realised utilities of one leverage have the exact expectation, which is highest at the optimum."""
    market = Merton(400_000, seeded())
    moment = market.step(torch.full((400_000, 1), leverage / 2.5 - 1.0))
    assert float(moment.reward.mean()) == pytest.approx(market.utility(leverage), abs=0.015)
    assert market.utility(2.0) > max(market.utility(1.9), market.utility(2.1))


def test_garleanu_pedersen_simulation_agrees_with_the_moments() -> None:
    """Half the aim captures .75 and half the rate .91, simulated on signals as computed by moments."""
    lives = GarleanuPedersen(1, seeded())
    rate, aim = lives.market.optimum()
    half_size = lives.capture(lambda seen: lives._linear(seen, rate, 0.5 * aim), seed=1, lives=256)
    half_rate = lives.capture(lambda seen: lives._linear(seen, 0.5 * rate, aim), seed=1, lives=256)
    assert half_size == pytest.approx(lives.market.capture(rate, 0.5 * aim), abs=0.02)
    assert half_rate == pytest.approx(lives.market.capture(0.5 * rate, aim), abs=0.02)
    assert lives.capture(lives.optimal, seed=1, lives=16) == 1.0


def test_garleanu_pedersen_pays_realised_noise() -> None:
    """A held position earns its expectation with the full noise of the market: deviation |x| in volatility units."""
    lives = GarleanuPedersen(100_000, seeded())
    lives.state = torch.tensor([1.0, 3.0]).expand(100_000, 2)
    moment = lives.step(torch.zeros(100_000, 1))
    market = lives.market
    expected = 0.99 * (3.0 * market.slope - 0.5 * market.risk_aversion * market.sigma**2 * 9.0) / market.sigma
    assert float(moment.reward.mean()) == pytest.approx(expected, abs=0.03)
    assert float(moment.reward.std()) == pytest.approx(0.99 * 3.0, rel=0.02)
    assert not moment.terminated.any()
