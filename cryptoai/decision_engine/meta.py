"""The meta-controller: which option to follow, when to leave it, and how much of the risk budget to give it.

Options with termination (Sutton, Precup and Singh 1999; option-critic, Bacon et al. 2017), learned by PPO. Termination
is summed out: the next option is the present one with probability 1 - beta, and drawn anew with beta, so that one
likelihood carries the gradients of both (Zhang and Whiteson 2019). Each step is then a step of PPO, and the value of an
option that lasts k steps is sum of gamma^i r_i + gamma^k V, the semi-MDP return.

It sees the options' paper records, their present exposures, the present option and exposure, and nothing else: it must
never be given the hidden state of a market, or a return that is still to come. `live` gathers rollouts from anything
that can be traded; training and the gates call it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cryptoai.decision_engine.distributions import TanhNormal
from cryptoai.decision_engine.options import OPTIONS, RECORD_WIDTH, Record, Signals, option_exposures
from cryptoai.decision_engine.policy import mlp
from cryptoai.decision_engine.rollout import Rollout

__all__ = ["META_WIDTH", "Choice", "MetaController", "MetaCritic", "Standing", "Tradable", "live"]

META_WIDTH = RECORD_WIDTH + 2 * len(OPTIONS) + 1
"""Width of what the controller sees: records, options' exposures, present option (one-hot), present exposure."""

_FLAT = OPTIONS.index("flat")
_STAY_BIAS = 1.0  # of the termination logit: before training an option is left three times in four


@dataclass(frozen=True, slots=True)
class Choice:
    """A distribution over (option, risk budget). log_options (B, 4); budget: tanh-Normal (B, 4, 1), one an option.

    A draw `raw` (B, 2) is the option's number and the budget before squashing; budget = (1 + tanh) / 2 in (0, 1).
    """

    log_options: Tensor
    budget: TanhNormal

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        shape = self.log_options.shape[:-1]
        drawn = torch.rand(*shape, 1, generator=generator, device=self.log_options.device)
        below = (self.log_options.exp().cumsum(-1) < drawn).sum(-1, keepdim=True)
        option = below.clamp(max=len(OPTIONS) - 1)
        return torch.cat([option.to(drawn.dtype), self._of(option, self.budget.sample(generator).squeeze(-1))], -1)

    def mode(self) -> Tensor:
        """The most likely option, with its budget's mode."""
        option = self.log_options.argmax(-1, keepdim=True)
        return torch.cat([option.to(self.log_options.dtype), self._of(option, self.budget.mean.squeeze(-1))], -1)

    def log_prob(self, raw: Tensor) -> Tensor:
        """(B, 2) -> (B,)"""
        option = raw[..., :1].long()
        mean = self._of(option, self.budget.mean.squeeze(-1))
        log_std = self._of(option, self.budget.log_std.squeeze(-1))
        return self._of(option, self.log_options).squeeze(-1) + TanhNormal(mean, log_std).log_prob(raw[..., 1:])

    def entropy(self, generator: torch.Generator | None = None) -> Tensor:
        """(B,): exact over the options, one draw over their budgets."""
        each = self.budget.entropy(generator)
        return (self.log_options.exp() * (each - self.log_options)).sum(-1)

    @staticmethod
    def _of(option: Tensor, columns: Tensor) -> Tensor:
        return columns.gather(-1, option)


class MetaController(nn.Module):
    """observation (B, META_WIDTH) -> Choice."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.body = mlp(META_WIDTH, hidden, 3 * len(OPTIONS), last_gain=0.01)
        self.log_std = nn.Parameter(torch.full((1,), -0.5))

    def forward(self, observation: Tensor) -> Choice:
        stop, fresh, budget = self.body(observation).chunk(3, -1)
        now = observation[..., RECORD_WIDTH + len(OPTIONS) : RECORD_WIDTH + 2 * len(OPTIONS)]
        leave = (stop * now).sum(-1, keepdim=True) + _STAY_BIAS
        anew = F.logsigmoid(leave) + F.log_softmax(fresh, -1)
        stay = F.logsigmoid(-leave) + (now + 1e-30).log()
        mean = budget.unsqueeze(-1)
        return Choice(torch.logaddexp(anew, stay), TanhNormal(mean, self.log_std.clamp(-5.0, 1.0).expand_as(mean)))

    def termination(self, observation: Tensor) -> Tensor:
        """beta (B,): probability that the present option is left for a fresh choice."""
        stop = self.body(observation).chunk(3, -1)[0]
        now = observation[..., RECORD_WIDTH + len(OPTIONS) : RECORD_WIDTH + 2 * len(OPTIONS)]
        return torch.sigmoid((stop * now).sum(-1) + _STAY_BIAS)


class MetaCritic(nn.Module):
    """observation (B, META_WIDTH) -> values (B, objectives), zero before training."""

    def __init__(self, hidden: int = 32, objectives: int = 1) -> None:
        super().__init__()
        self.body = mlp(META_WIDTH, hidden, objectives, last_gain=0.0)

    def forward(self, observation: Tensor) -> Tensor:
        values: Tensor = self.body(observation)
        return values


class Tradable(Protocol):
    """B lives of a market that takes an exposure."""

    def signals(self) -> Signals:
        """What is known now."""
        ...

    def trade(self, exposure: Tensor) -> tuple[Tensor, Tensor]:
        """Holds (B,) over the next step: its return (B,) and the rewards (B, K)."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Where B lives stand: their record, the option (B,) that they follow and the exposure (B,) that they hold."""

    record: Record
    option: Tensor
    exposure: Tensor

    @classmethod
    def start(cls, lives: int) -> Self:
        """Flat, with an empty record."""
        return cls(Record.empty(lives), torch.full((lives,), _FLAT), torch.zeros(lives))

    def observation(self, offered: Tensor) -> Tensor:
        """(B, META_WIDTH), given what the options offer, (B, 4)."""
        now = F.one_hot(self.option, len(OPTIONS)).to(offered.dtype)
        return torch.cat([self.record.statistics(), offered, now, self.exposure.unsqueeze(-1)], -1)


@torch.no_grad()
def live(
    market: Tradable,
    controller: MetaController,
    critic: MetaCritic,
    standing: Standing,
    steps: int,
    generator: torch.Generator | None,
    *,
    deliberation: float = 0.0,
) -> tuple[Rollout, Standing]:
    """`steps` steps from `standing`, cut at the end; without a generator the controller's mode is followed.

    deliberation: charge for a change of option (Harb et al. 2018), spread over the K objectives; with none, an option
    that could as well be left is left at random.
    """
    rows: list[tuple[Tensor, ...]] = []
    for _ in range(steps):
        offered = option_exposures(market.signals())
        seen = standing.observation(offered)
        choice = controller(seen)
        raw = choice.mode() if generator is None else choice.sample(generator)
        option = raw[:, 0].long()
        exposure = 0.5 * (1.0 + torch.tanh(raw[:, 1])) * offered.gather(-1, raw[:, :1].long()).squeeze(-1)
        returns, rewards = market.trade(exposure)
        charge = deliberation * (option != standing.option).to(rewards.dtype) / rewards.shape[-1]
        rows.append((seen, raw, choice.log_prob(raw), rewards - charge.unsqueeze(-1), critic(seen)))
        standing = Standing(standing.record.after(offered, returns), option, exposure)
    return _rollout(rows, critic(standing.observation(option_exposures(market.signals())))), standing


def _rollout(rows: list[tuple[Tensor, ...]], final: Tensor) -> Rollout:
    features, raw, log_probs, rewards, values = (torch.stack(column) for column in zip(*rows, strict=True))
    never = torch.zeros_like(log_probs, dtype=torch.bool)
    cut = never.clone()
    cut[-1] = True
    after = torch.cat([values[1:], final.unsqueeze(0)])
    return Rollout(
        features=features, exposures=None, raw=raw, log_probs=log_probs, rewards=rewards,
        values=values, next_values=after, terminated=never, truncated=cut,
    )  # fmt: skip
