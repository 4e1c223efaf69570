"""The decision engine around its learners: options, imagination, weights of the objectives, and what noise pays.

Values are shares of what the oracle of the same run earns, or volatility units a step as they say. Every policy is
judged on rows or lives that neither it nor its world model was trained on, by the true mean of each return, so that
luck in the returns is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryptoai.decision_engine.objectives import OBJECTIVES, PREFERENCES, WEIGHTS, relative_weights
from cryptoai.decision_engine.options import FULL_MOVE
from cryptoai.testing.envs_switching import Outcome, Recorded, TrueMarket, trade
from cryptoai.testing.forecasting import Recipe, Trained, permuted, train_on
from cryptoai.testing.gates.gate import Check, Gate
from cryptoai.testing.market import SyntheticMarket, synthetic_dataset
from cryptoai.testing.market.hidden_trend import HiddenTrend, hidden_trend
from cryptoai.testing.policy_trials import (
    Budget,
    Learned,
    controlled_positions,
    filter_features,
    imagined_and_real,
    model_features,
    model_starts,
    recorded,
    train_meta,
    train_policy,
)

__all__ = ["CHECKS"]

PART = "options"
COST = 0.2
"""Of a unit of exposure at full urgency, volatility units: trading pays, but not at every change of the signal."""
ROWS, FIT_ROWS = 30_000, 24_000
TEST_ROWS, LIFE = {True: 8_000, False: 20_000}, 200
GRID = (-1.0, -0.5, 0.0, 0.5, 1.0)
WARM = 100
Floats = npt.NDArray[np.float64]


def meta(quick: bool) -> Sequence[Gate]:
    """The meta-controller against the filter, its own options, chance, and the best recent record."""
    updates, seeds, phis = (50, (0,), (0.3,)) if quick else (80, (0, 1, 2), (0.2, 0.3, 0.4))
    return [_meta_gate(phi, updates, seeds) for phi in phis]


def _meta_gate(phi: float, updates: int, seeds: Sequence[int]) -> Gate:
    market = hidden_trend(99, 1500 + WARM, 200, phi)
    best = _mean(market, market.optimal_positions())
    shares, changes = [], []
    for seed in seeds:
        positions, options = controlled_positions(train_meta(phi, updates, seed), market)
        shares.append(_mean(market, positions) / best)
        changes.append(float((options[1:] != options[:-1]).float().mean()))
    known = _mean(market, market.clairvoyant_positions()) / best
    return Gate(
        PART, f"meta-controller, share of the filter optimum, phi {phi}", min(shares), ">= .85, the worst seed",
        min(shares) >= 0.85, {name: _mean(market, held) / best for name, held in _fixed(market).items()}, 1.0,
        f"seeds {_listed(shares)}; {updates * 64 * 128:,} steps each; an option lasts {1 / fmean(changes):.0f} steps; "
        f"the clairvoyant has {known:.2f}",
    )  # fmt: skip


def _fixed(market: HiddenTrend) -> dict[str, Floats]:
    """Positions [T, B] of what has no filter."""
    trend = market.phi * np.clip(market.returns[:-1], -FULL_MOVE, FULL_MOVE)
    paper = np.concatenate([np.zeros((1, trend.shape[1])), (trend * market.returns[1:])[:-1]])
    average = np.zeros_like(paper)
    for t in range(1, len(paper)):
        average[t] = 0.5 ** (1 / 12) * average[t - 1] + (1 - 0.5 ** (1 / 12)) * paper[t]
    chance = np.random.default_rng(0).choice([1.0, -1.0, 0.0, 0.0], trend.shape)
    return {
        "trend": trend, "revert": -trend, "carry": 0 * trend, "flat": 0 * trend, "random switching": chance * trend,
        "trend at a tenth": 0.1 * trend, "best recent record": np.sign(average) * trend,
    }  # fmt: skip


def _mean(market: HiddenTrend, positions: Floats) -> float:
    return float(market.value(positions)[WARM:].mean())


@cache
def _market(seed: int, rows: int) -> SyntheticMarket:
    return synthetic_dataset(seed, rows, step_ms=1000, missing=0.0)


def _test(quick: bool) -> SyntheticMarket:
    """The market to judge by."""
    return _market(1001, TEST_ROWS[quick])


@cache
def _world(quick: bool) -> Trained:
    return train_on(_market(1, ROWS), _recipe(150 if quick else 400))


@cache
def _shuffled_world(quick: bool) -> Trained:
    return train_on(_market(1, ROWS), _recipe(40 if quick else 400), labels=permuted)


def _recipe(steps: int) -> Recipe:
    return Recipe(steps, hidden=32, latent=32, layers=1, sequence=32, rate=4e-3)


@cache
def _from_truth(quick: bool, seed: int) -> Learned:
    """Trained in the simulator, shown what a filter with the true parameters knows."""
    return train_policy(TrueMarket(), TrueMarket().start, 2, _budget(quick), seed)


def _from_model(trained: Trained, budget: Budget, seed: int) -> Learned:
    """Trained in a world model, shown what that knows."""
    starts = model_starts(trained, _market(1, ROWS), FIT_ROWS)
    return train_policy(trained.model, starts, trained.model.feature_dim, budget, seed)


def _budget(quick: bool) -> Budget:
    return Budget(60 if quick else 120, cost=COST)


def _judged(learned: Learned, record: Recorded) -> Outcome:
    return trade(learned.policy, record.lives(len(record.mean) // LIFE), COST)


def imagination(quick: bool) -> Sequence[Gate]:
    """A policy that never met the market against one that learned in it; and what the model promised it."""
    trained, seeds, test = _world(quick), (0,) if quick else (0, 1), _test(quick)
    ours = [_from_model(trained, _budget(quick), seed) for seed in seeds]
    theirs = [_from_truth(quick, seed) for seed in seeds]
    shown, truth = (
        recorded(features, test, trained.unit)
        for features in (model_features(trained.model, test), filter_features(test))
    )
    dreamt, lived = (
        [float(_judged(one, seen).net.mean()) for one in by] for by, seen in ((ours, shown), (theirs, truth))
    )
    return [_transfer(dreamt, lived, _no_trade_band(truth)), _exploitation(trained, ours, test, shown)]


def _transfer(dreamt: Sequence[float], lived: Sequence[float], band: float) -> Gate:
    ratio = fmean(dreamt) / fmean(lived)
    return Gate(
        PART, "policy from the model, share of the one from the simulator", ratio, ">= .85", ratio >= 0.85,
        {"flat": 0.0, "best no-trade band on the true mean": band / fmean(lived)}, 1.0,
        f"net a step, volatility units: {_listed(dreamt)} by seed, from the simulator {_listed(lived)}",
    )  # fmt: skip


def _exploitation(trained: Trained, ours: Sequence[Learned], test: SyntheticMarket, shown: Recorded) -> Gate:
    pairs = [imagined_and_real(trained, one, test, shown, COST) for one in ours]
    imagined, real = (torch.stack(nets).mean(0) for nets in zip(*pairs, strict=True))
    gap, error = float((imagined - real).mean()), 2 * _error(imagined - real)
    return Gate(
        PART, "model exploitation: imagined less real net a step", gap, "not above 0 by 2 standard errors",
        gap <= error, {"imagined": float(imagined.mean()), "real": float(real.mean())}, 0.0,
        f"interval {gap - error:.4f} to {gap + error:.4f}; {len(real)} pairs of lives of 16 steps",
    )  # fmt: skip


def _error(gaps: Tensor) -> float:
    """Standard error of the mean over lives that follow each other, in blocks of 8."""
    blocks = gaps[: len(gaps) // 8 * 8].reshape(-1, 8).mean(1)
    return float(blocks.std()) / math.sqrt(len(blocks))


def _no_trade_band(truth: Recorded) -> float:
    """Net a step of the best rule that turns, by patient orders, only when the true mean is beyond a band."""
    _, mean, _, _ = truth.lives(len(truth.mean) // LIFE)
    return max(_band_net(mean, band) for band in (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15))


def _band_net(mean: Tensor, band: float) -> float:
    side, held, total = torch.zeros_like(mean[0]), torch.zeros_like(mean[0]), 0.0
    for now in mean:
        side = torch.where(now.abs() > band, now.sign(), side)
        change = 0.5 * (side - held)
        held = held + change
        total += float((held * now - 0.4 * COST * change.abs()).mean())
    return total / len(mean)


def weights(quick: bool) -> Sequence[Gate]:
    """One policy asked by many weights: each must move what it weighs, and be better kept than ignored."""
    budget = Budget(120 if quick else 200, cost=COST)
    learned = train_policy(TrueMarket(), TrueMarket().start, 2, budget, 0)
    lives = TrueMarket().lives(77, 300, 200)
    measured = {"cost": "turnover", "turnover": "turnover", "cvar": "tail loss"}
    gates = [_response(learned, lives, name, what) for name, what in measured.items()]
    return [*gates, _heeded(learned, lives, None if quick else budget)]


def _response(learned: Learned, lives: tuple[Tensor, ...], name: str, what: str) -> Gate:
    outcomes = [_asked(learned, lives, _only(name, p)) for p in GRID]
    seen = [one.turnover if what == "turnover" else one.tail() for one in outcomes]
    rise = max(after / before - 1 for before, after in pairwise(seen))
    fall = 1 - seen[-1] / seen[0]
    return Gate(
        PART, f"fall of the {what} from 1/8 to 8 times the weight of {name}", fall,
        ">= .05, and no step on the way rises by more than .01", fall >= 0.05 and rise <= 0.01, {}, None,
        f"{what} at 1/8, 1/2.8, 1, 2.8, 8: {_listed(seen)}; largest rise {max(rise, 0.0):.4f}; "
        f"net {_listed([float(one.net.mean()) for one in outcomes])}; 60,000 steps that nothing was trained on",
    )  # fmt: skip


def _heeded(learned: Learned, lives: tuple[Tensor, ...], specialists: Budget | None) -> Gate:
    """Value by eight-fold weights, of the policy told of them over the same policy not told; specialists beside it."""
    told, untold, special = [], [], []
    for name in OBJECTIVES[1:]:
        wanted = _only(name, 1.0)
        told.append(_value(_asked(learned, lives, wanted), wanted))
        untold.append(_value(_asked(learned, lives, torch.zeros(PREFERENCES)), wanted))
        if specialists is not None:
            only = train_policy(TrueMarket(), TrueMarket().start, 2, replace(specialists, preferences=wanted), 0)
            special.append(_value(_asked(only, lives, wanted), wanted))
    least = min(ours - theirs for ours, theirs in zip(told, untold, strict=True))
    beside = {"not told": fmean(untold)} | ({"trained for that weight alone": fmean(special)} if special else {})
    return Gate(
        PART, "value by an eight-fold weight, mean over four objectives", fmean(told),
        "told of the weight no worse than not told, each within .002", least >= -0.002, beside, None,
        f"cost, drawdown, cvar, turnover: {_listed(told)}, not told {_listed(untold)}"
        + (f", specialists {_listed(special)}" if special else ""),
    )  # fmt: skip


def _asked(learned: Learned, lives: tuple[Tensor, ...], preferences: Tensor) -> Outcome:
    features, mean, sd, returns = lives
    return trade(learned.policy, (features, mean, sd, returns), COST, preferences)


def _only(name: str, preference: float) -> Tensor:
    wanted = torch.zeros(PREFERENCES)
    wanted[OBJECTIVES.index(name) - 1] = preference
    return wanted


def _value(outcome: Outcome, preferences: Tensor) -> float:
    """Weighted reward a step, with the weight of return at 1."""
    ratios = relative_weights(preferences)
    return float((outcome.rewards.mean(0) * ratios / ratios[0] * torch.tensor(WEIGHTS)).sum())


def noise(quick: bool) -> Sequence[Gate]:
    """Where labels were dealt out at random, or nothing is there, nothing may be earned."""
    trained, test = _shuffled_world(quick), _test(quick)
    learned = _from_model(trained, Budget(10, cost=COST) if quick else _budget(quick), 0)
    outcome = _judged(learned, recorded(model_features(trained.model, test), test, trained.unit))
    gross, net = outcome.rewards[:, 0], outcome.net
    error, after = (2 * float(x.std()) / math.sqrt(len(x)) for x in (gross, net))
    skill = float(gross.mean())
    gates = [
        Gate(PART, "skill of a policy from permuted labels, gross a step", skill, "0 within 2 standard errors",
             abs(skill) <= error, {"flat": 0.0}, 0.0,
             f"2 standard errors {error:.5f}; mean exposure {float(outcome.exposure.mean()):.4f}"),
        Gate(PART, "edge of it after costs, net a step", float(net.mean()), "not above 0 by 2 standard errors",
             float(net.mean()) <= after, {"flat": 0.0}, 0.0, f"2 standard errors {after:.5f}"),
    ]  # fmt: skip
    return gates if quick else [*gates, _meta_on_noise()]


def _meta_on_noise() -> Gate:
    """The controller is trained and judged where the hidden side moves nothing; sizes are those of phi .3."""
    noisy = hidden_trend(7, 1500 + WARM, 200, 0.0)
    market = HiddenTrend(noisy.returns, noisy.side, 0.3)
    positions, _ = controlled_positions(train_meta(0.3, 80, 0, truth=0.0), market)
    paid = (positions * noisy.returns[1:] - positions**2 / 2)[WARM:].mean(0)
    error = 2 * float(paid.std()) / math.sqrt(len(paid))
    return Gate(
        PART, "meta-controller on pure noise, value a step", float(paid.mean()), "not above 0 by 2 standard errors",
        float(paid.mean()) <= error, {"flat": 0.0}, 0.0, f"2 standard errors {error:.5f}",
    )  # fmt: skip


def _listed(figures: Sequence[float]) -> str:
    return ", ".join(f"{x:.4f}" for x in figures)


CHECKS: tuple[Check, ...] = (
    Check("options.meta", meta),
    Check("options.imagination", imagination),
    Check("options.weights", weights),
    Check("options.noise", noise),
)
