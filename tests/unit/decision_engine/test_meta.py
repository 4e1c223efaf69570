"""The meta-controller's likelihood by hand, its returns against the semi-MDP definition, and what it may see."""

import math

import pytest
import torch
from torch import Tensor

from cryptoai.decision_engine.gae import gae
from cryptoai.decision_engine.meta import META_WIDTH, MetaController, MetaCritic, Standing, live
from cryptoai.decision_engine.options import OPTIONS, RECORD_WIDTH, Signals

torch.set_num_threads(1)


def controller(seed: int = 0) -> MetaController:
    """With weights that are not close to zero, so that nothing is symmetric."""
    torch.manual_seed(seed)
    made = MetaController(16)
    made.body[-1].weight.data.normal_(std=0.5, generator=torch.Generator().manual_seed(seed))
    return made


def observations(count: int, option: int) -> Tensor:
    seen = torch.randn(count, META_WIDTH, generator=torch.Generator().manual_seed(1))
    seen[:, RECORD_WIDTH + 4 : RECORD_WIDTH + 8] = torch.eye(4)[option]
    return seen


class Coin:
    """Returns that a list gives; the move that is shown is the return before."""

    def __init__(self, returns: Tensor) -> None:
        self.returns, self.at = returns, 0

    def signals(self) -> Signals:
        move = self.returns[self.at]
        return Signals(move, move, torch.zeros_like(move))

    def trade(self, exposure: Tensor) -> tuple[Tensor, Tensor]:
        self.at += 1
        return self.returns[self.at], (exposure * self.returns[self.at]).unsqueeze(-1)


def coin(steps: int = 20, lives: int = 64) -> Coin:
    return Coin(torch.randn(steps + 1, lives, generator=torch.Generator().manual_seed(2)))


def test_the_next_option_is_the_present_one_or_a_fresh_choice() -> None:
    """P(next) = (1 - beta) [next is present] + beta pi(next), by hand, and it adds up to 1."""
    made, seen = controller(), observations(5, option=2)
    fresh = torch.softmax(made.body(seen)[:, 4:8], -1)
    beta = made.termination(seen).unsqueeze(-1)
    by_hand = (1 - beta) * torch.eye(4)[2] + beta * fresh
    assert torch.allclose(made(seen).log_options.exp(), by_hand, atol=1e-6)
    assert torch.allclose(by_hand.sum(-1), torch.ones(5))


def test_draws_have_the_likelihood_that_is_stated() -> None:
    """The share of each option among many draws is its probability, and log_prob is that of option times budget."""
    made, seen = controller(), observations(1, option=1)
    with torch.no_grad():
        choice = made(seen.expand(40_000, -1))
    raw = choice.sample(torch.Generator().manual_seed(0))
    for option in range(len(OPTIONS)):
        share = float((raw[:, 0] == option).float().mean())
        assert share == pytest.approx(float(choice.log_options[0, option].exp()), abs=0.01)
    row = raw[0]
    option = int(row[0])
    u, mean, std = float(row[1]), float(choice.budget.mean[0, option, 0]), float(made.log_std.detach().exp())
    normal = -0.5 * ((u - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)
    by_hand = float(choice.log_options[0, option]) + normal - math.log(1 - math.tanh(u) ** 2)
    assert float(choice.log_prob(raw)[0]) == pytest.approx(by_hand, rel=1e-4)


def test_entropy_is_the_mean_of_minus_log_prob() -> None:
    """Over many draws, within their error."""
    with torch.no_grad():
        choice = controller()(observations(1, option=0).expand(60_000, -1))
    drawn = -choice.log_prob(choice.sample(torch.Generator().manual_seed(0)))
    stated = choice.entropy(torch.Generator().manual_seed(1))
    assert float(stated.mean()) == pytest.approx(float(drawn.mean()), abs=0.03)


def test_an_option_of_k_steps_is_worth_its_semi_mdp_return() -> None:
    """At lambda 1 the step-by-step advantage at the start of an option equals sum of g^i r_i + g^k V - V, with V at the
    start of the next option replaced by what follows there (Sutton, Precup and Singh 1999); an undiscounted k does not.
    """
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(12, 1, 1, generator=generator, dtype=torch.float64)
    values = torch.randn(13, 1, 1, generator=generator, dtype=torch.float64)
    ends = torch.zeros(12, 1, dtype=torch.bool), torch.tensor([False] * 11 + [True]).unsqueeze(-1)
    g = 0.9
    advantage = gae(rewards, (values[:-1], values[1:]), ends, gamma=g, lam=1.0)
    starts = [0, 3, 4, 9, 12]  # options of 3, 1, 5 and 3 steps
    worth, flat_discount = float(values[12]), float(values[12])
    for first, after in zip(starts[-2::-1], starts[:0:-1], strict=True):
        k = after - first
        paid = sum(g**i * float(rewards[first + i]) for i in range(k))
        worth = paid + g**k * worth
        flat_discount = paid + g * flat_discount
        assert float(advantage[first]) == pytest.approx(worth - float(values[first]))
    assert flat_discount != pytest.approx(worth, abs=1e-3)


def test_it_holds_its_option_times_its_budget() -> None:
    """The exposure of each step is the chosen option's, scaled by a budget in (0, 1), and the next step sees it."""
    torch.manual_seed(0)
    rollout, _ = live(coin(), controller(), MetaCritic(16), Standing.start(64), 20, torch.Generator().manual_seed(0))
    offered = rollout.features[..., RECORD_WIDTH : RECORD_WIDTH + 4]
    option = rollout.raw[..., :1].long()
    exposure = 0.5 * (1 + torch.tanh(rollout.raw[..., 1])) * offered.gather(-1, option).squeeze(-1)
    assert torch.allclose(exposure[:-1], rollout.features[1:, :, -1], atol=1e-6)
    assert (exposure.abs() <= offered.abs().amax(-1)).all()
    assert rollout.exposures is None


def test_nothing_of_the_future_is_seen() -> None:
    """With every return after step 10 changed, all that was seen and done up to step 10 is bitwise equal."""
    torch.manual_seed(0)
    made, critic = controller(), MetaCritic(16)
    other = coin()
    other.returns[11:] = 9.0
    runs = [live(m, made, critic, Standing.start(64), 20, torch.Generator().manual_seed(0))[0] for m in (coin(), other)]
    assert torch.equal(runs[0].features[:11], runs[1].features[:11])
    assert torch.equal(runs[0].raw[:11], runs[1].raw[:11])
    assert not torch.equal(runs[0].features[11:], runs[1].features[11:])


def test_a_change_of_option_is_charged_its_deliberation() -> None:
    """The same draws with a charge of .5: exactly the steps that change the option earn .5 less."""
    torch.manual_seed(0)
    made, critic = controller(), MetaCritic(16)
    free, charged = (
        live(coin(), made, critic, Standing.start(64), 20, torch.Generator().manual_seed(0), deliberation=charge)[0]
        for charge in (0.0, 0.5)
    )
    before = free.features[..., RECORD_WIDTH + 4 : RECORD_WIDTH + 8].argmax(-1)
    changed = (free.raw[..., 0] != before).float()
    assert 0 < changed.mean() < 1
    assert torch.allclose((free.rewards - charged.rewards).squeeze(-1), 0.5 * changed, atol=1e-6)
