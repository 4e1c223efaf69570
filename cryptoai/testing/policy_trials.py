"""Policies and meta-controllers trained on markets of known truth, small enough for a gate.

The gates of the options and their slow tests call these; the learners, rewards and imagination are the product's own.
Everything follows from the seeds. It must never judge a policy on a row that it, or its world model, was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.imagination import Conditions, Dynamics, MarketLatent, imagine
from cryptoai.decision_engine.meta import MetaController, MetaCritic, Standing, live
from cryptoai.decision_engine.policy import Policy
from cryptoai.decision_engine.ppo import PPO, PPOConfig
from cryptoai.testing.envs_options import HiddenTrendLives
from cryptoai.testing.envs_switching import Recorded
from cryptoai.testing.forecasting import Trained
from cryptoai.testing.market import SyntheticMarket
from cryptoai.testing.market.hidden_trend import HiddenTrend, hidden_trend
from cryptoai.training.seeds import initialised
from cryptoai.world_model import Latent, WorldModel

__all__ = [
    "CONTEXT",
    "HORIZON",
    "Budget",
    "Learned",
    "controlled_positions",
    "filter_features",
    "imagined_and_real",
    "model_features",
    "model_starts",
    "recorded",
    "train_meta",
    "train_policy",
]

CONTEXT = 16
"""Rows that a world model has seen before a life starts."""
HORIZON = 16
_CHUNK = 512
_META_STEPS, _META_LIVES = 64, 128

Place = TypeVar("Place", bound=MarketLatent)


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a policy is trained, and under what. cost: of a unit of exposure; preferences (4,): of all lives, drawn
    for each without.
    """

    updates: int
    lives: int = 256
    cost: float = 0.2
    preferences: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """A trained policy and its critic."""

    policy: Policy
    critic: Critic


def train_policy(
    dynamics: Dynamics[Place], starts: Callable[[int, torch.Generator], Place], width: int, budget: Budget, seed: int
) -> Learned:
    """PPO on lives of `dynamics`, imagined or real; starts(lives, generator) gives where they begin."""
    with initialised(seed, "policy"):
        policy, critic = Policy(width, 32), Critic(width, 32)
    settings = PPOConfig(learning_rate=3e-3, updates=budget.updates, gamma=0.95, lam=0.9, seed=seed)
    learner, draws = PPO(policy, critic, settings), torch.Generator().manual_seed(seed)
    wanted = None if budget.preferences is None else budget.preferences.expand(budget.lives, -1)
    for _ in range(budget.updates):
        begin = starts(budget.lives, draws)
        learner.update(
            imagine(dynamics, policy, critic, begin, HORIZON, Conditions(budget.cost, preferences=wanted), draws)
        )
    return Learned(policy, critic)


@torch.no_grad()
def model_features(model: WorldModel, market: SyntheticMarket) -> Tensor:
    """(N, F): what a policy is shown at each row, from CONTEXT rows of past."""
    values, mask = _padded(market)
    chunks = np.array_split(np.arange(len(market.times)), -(-len(market.times) // _CHUNK))
    windows = (chunk[:, None] + np.arange(CONTEXT) for chunk in chunks)
    return torch.cat([model.start(values[rows], mask[rows], room=0).feature for rows in windows])


def filter_features(market: SyntheticMarket) -> Tensor:
    """(N, 2): signal and centred belief, as `TrueMarket` shows them."""
    return torch.from_numpy(np.stack([market.signal, 2 * market.wild_probability() - 1], -1)).float()


def recorded(features: Tensor, market: SyntheticMarket, unit: float) -> Recorded:
    """The rows of a market with these features; unit: log return of a volatility unit."""
    mean, sd = market.oracle()
    units = (torch.from_numpy(column / unit).float() for column in (mean, sd, market.returns))
    return Recorded(features, *units)


def model_starts(trained: Trained, market: SyntheticMarket, rows: int) -> Callable[[int, torch.Generator], Latent]:
    """Lives that begin at random among the first `rows` rows of a market, with a world model's cache."""
    values, mask = _padded(market)

    def starts(lives: int, generator: torch.Generator) -> Latent:
        first = torch.randint(0, rows, (lives, 1), generator=generator) + torch.arange(CONTEXT)
        return trained.model.start(values[first], mask[first], generator, room=HORIZON)

    return starts


def imagined_and_real(
    trained: Trained, learned: Learned, market: SyntheticMarket, record: Recorded, cost: float
) -> tuple[Tensor, Tensor]:
    """Net result a step of the same lives (B,), imagined by the model and along the market's record (what the model
    shows at each row), one every HORIZON rows.

    Both draw their actions; each pair begins at the same row, exposure and drawdown, with the default weights.
    """
    values, mask = _padded(market)
    rows = torch.arange(CONTEXT, len(market.times) - HORIZON - 1, HORIZON)
    first = rows[:, None] + torch.arange(CONTEXT)
    begin = trained.model.start(values[first], mask[first], torch.Generator().manual_seed(1), room=HORIZON)
    imagined = _lived(trained.model, learned, begin, cost)
    return imagined, _lived(record, learned, record.at(rows), cost)


def _lived(dynamics: Dynamics[Place], learned: Learned, begin: Place, cost: float) -> Tensor:
    draws = torch.Generator().manual_seed(0)
    plain = Conditions(cost, preferences=torch.zeros(len(begin.feature), 4))
    rollout = imagine(dynamics, learned.policy, learned.critic, begin, HORIZON, plain, draws)
    return rollout.rewards[..., :2].sum(-1).mean(0)


def _padded(market: SyntheticMarket) -> tuple[Tensor, Tensor]:
    """Values and mask with CONTEXT - 1 empty rows before them, so that window `row` ends at row `row`."""
    width = ((CONTEXT - 1, 0), (0, 0))
    return torch.from_numpy(np.pad(market.values, width)), torch.from_numpy(np.pad(market.mask, width))


def train_meta(phi: float, updates: int, seed: int, *, truth: float | None = None) -> tuple[MetaController, MetaCritic]:
    """PPO on the realised results of `updates` x 64 steps of 128 lives of a hidden trend.

    truth: what the market's phi really is, if positions are sized for another.
    """
    with initialised(seed, "meta"):
        controller, critic = MetaController(), MetaCritic()
    settings = PPOConfig(learning_rate=1e-2, updates=updates, gamma=0.8, lam=0.5, weights=(1.0,), seed=seed)
    learner, draws = PPO(controller, critic, settings), torch.Generator().manual_seed(seed)
    drawn = hidden_trend(1000 + seed, updates * _META_STEPS, _META_LIVES, phi if truth is None else truth)
    market = HiddenTrendLives(replace(drawn, phi=phi))
    standing = Standing.start(_META_LIVES)
    for _ in range(updates):
        rollout, standing = live(market, controller, critic, standing, _META_STEPS, draws, deliberation=0.001)
        learner.update(rollout)
    return controller, critic


def controlled_positions(learned: tuple[MetaController, MetaCritic], market: HiddenTrend) -> tuple[np.ndarray, Tensor]:
    """Positions [T, B] of the controller's mode along the whole market, and the options (T, B) it followed."""
    lives, (steps, paths) = HiddenTrendLives(market), (len(market.returns) - 1, market.returns.shape[1])
    rollout, _ = live(lives, *learned, Standing.start(paths), steps, None)
    return lives.held(), rollout.raw[..., 0].long()
