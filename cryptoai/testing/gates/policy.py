"""PPO and SAC against what is known exactly: probes, leverage, timing, dynamic trading, and markets without an edge.

Each check draws everything from its seeds. Learners see realised, noisy rewards only; they are judged by closed forms
or by expected results, on draws of their own. The quick run takes one seed and leaves out dynamic trading, whose judge
needs minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean, median, stdev

import numpy as np
import torch
from torch import Tensor

from cryptoai.decision_engine.actor_critic import Actor
from cryptoai.decision_engine.distributions import TanhNormal
from cryptoai.decision_engine.ppo import PPOConfig
from cryptoai.decision_engine.sac import SACConfig
from cryptoai.testing.envs import almgren_chriss as slices
from cryptoai.testing.envs import probes
from cryptoai.testing.envs.garleanu_pedersen import GarleanuPedersen
from cryptoai.testing.envs.learning import PPOPlan, SACPlan, learn_ppo, learn_sac
from cryptoai.testing.envs.lives import Lives
from cryptoai.testing.envs.merton import Merton
from cryptoai.testing.envs.recorded import Recorded, positions, sharpe_interval
from cryptoai.testing.gates.gate import Check, Gate
from cryptoai.testing.market.planted_alpha import AlphaPath, PlantedAlpha

__all__ = ["CHECKS", "PPO_TRADING", "SAC_TRADING"]

SEEDS = (10, 11, 12)
LIVES, MANY = 64, 256
"""Lives of PPO and of SAC in dynamic trading: the more, the more is learned from before the replay is looked at."""
Learn = Callable[[Lives, int], Actor]

PPO_PLAN = PPOPlan(PPOConfig(updates=60, learning_rate=3e-3, gamma=0.9, lam=0.9, entropy=0.0, weights=(1.0,)), length=8)
PPO_SLICES = PPOPlan(
    PPOConfig(updates=60, learning_rate=3e-3, gamma=1.0, lam=0.95, entropy=0.01, weights=(1.0,)), length=20
)
PPO_TRADING = PPOPlan(
    PPOConfig(updates=76, learning_rate=3e-3, gamma=0.9, lam=0.9, entropy=0.03, weights=(1.0,)), length=32
)
"""156,672 steps of 64 lives. The discount is shorter than the market's: it costs .2 % and spares most of the noise."""
SAC_PLAN = SACPlan(
    SACConfig(updates=800, learning_rate=2e-3, gamma=0.9, alpha=1.0), rounds=400, updates_per_round=2, hidden=32
)
SAC_PROBES = replace(
    SAC_PLAN, config=replace(SAC_PLAN.config, updates=200, learning_rate=1e-2, tau=0.1, alpha=0.3), rounds=100
)
SAC_SLICES = replace(
    SAC_PLAN,
    config=replace(SAC_PLAN.config, updates=2400, learning_rate=3e-3, batch=512, gamma=1.0, tau=0.05),
    rounds=1200,
)
SAC_TRADING = SACPlan(
    SACConfig(updates=3000, learning_rate=1e-3, gamma=0.85, alpha=1.0), rounds=1500, updates_per_round=2
)
"""400,384 steps of 256 lives, two updates after each step of them all.

A temperature of 1 keeps the actor wide until the critic knows something; from .05 it ran to the bounds and stayed.
"""


def _ppo(plan: PPOPlan) -> Learn:
    return lambda lives, seed: learn_ppo(lives, replace(plan, config=replace(plan.config, seed=seed)))[0]


def _sac(plan: SACPlan) -> Learn:
    return lambda lives, seed: learn_sac(lives, replace(plan, config=replace(plan.config, seed=seed)))[0]


def _draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 + seed)


def _seeds(quick: bool) -> tuple[int, ...]:
    return SEEDS[:1] if quick else SEEDS


def _told(figures: Sequence[float]) -> str:
    return "seeds " + ", ".join(f"{figure:.3f}" for figure in figures)


@torch.no_grad()
def _chosen(actor: Actor, observation: Tensor) -> Tensor:
    """PPO's mode, which is what inference does; SAC's mean, since its spread stays wide and the mode lies beyond it."""
    actions: TanhNormal = actor(observation)
    return actions.mean_action() if actor.spread_by_state else actions.mode()


def _probes(_: bool) -> list[Gate]:
    plans: dict[str, Learn] = {
        "PPO": _ppo(replace(PPO_PLAN, config=replace(PPO_PLAN.config, learning_rate=1e-2, updates=40))),
        "SAC": _sac(SAC_PROBES),
    }
    return [_probe_gate(name, learn) for name, learn in plans.items()]


def _probe_gate(name: str, learn: Learn) -> Gate:
    """The largest miss of the two optimal actions in the two probes that reward actions."""
    seen, misses = torch.tensor([[-1.0], [1.0]]), []
    for probe, best in ((probes.ActionReward, (0.5, 0.5)), (probes.Identity, (-0.7, 0.7))):
        action = _chosen(learn(probe(64, _draws(0)), 0), seen)[:, 0]
        misses.append(float((action - torch.tensor(best)).abs().max()))
    return Gate("policy", f"{name} probes, largest miss", max(misses), "<= .1", max(misses) <= 0.1, oracle=0.0)


def _merton(quick: bool) -> list[Gate]:
    gates = []
    for name, learn in (("PPO", _ppo(PPO_PLAN)), ("SAC", _sac(SAC_PLAN))):
        levels = [_leverage(learn, seed) for seed in _seeds(quick)]
        gates += _merton_gates(name, levels)
    return gates


def _leverage(learn: Learn, seed: int) -> float:
    """Mean leverage over many observations, all of which are noise."""
    market = Merton(MANY, _draws(seed))
    actor = learn(market, seed)
    return float(market.leverage(_chosen(actor, torch.randn(4096, 2, generator=_draws(seed)))).mean())


def _merton_gates(name: str, levels: list[float]) -> list[Gate]:
    market = Merton(1, _draws(0))
    ratio = median(level / market.optimum for level in levels)
    worst = min(market.capture(level) for level in levels)
    twice = market.capture(2.0 * market.optimum)
    note = _told([level / market.optimum for level in levels])
    return [
        Gate("policy", f"{name} Merton leverage a/a*", ratio, ".9 to 1.1", abs(ratio - 1.0) <= 0.1, {}, 1.0, note),
        Gate(
            "policy", f"{name} Merton capture, worst seed", worst, ">= .98, and 0 at twice the optimum",
            worst >= 0.98 and abs(twice) < 1e-9, {"twice the optimum": twice, "half": 0.75}, 1.0,
        ),
    ]  # fmt: skip


def _slices(quick: bool) -> list[Gate]:
    gates = []
    least, equal = slices.cost(slices.optimal_schedule()), slices.cost(slices.twap())
    for name, learn in (("PPO", _ppo(PPO_SLICES)), ("SAC", _sac(SAC_SLICES))):
        closed = [(equal - _sold(learn, seed)) / (equal - least) for seed in _seeds(quick)]
        share, shown = median(closed), {"TWAP": 0.0, "all at once": (equal - 2.0) / (equal - least)}
        gates.append(
            Gate(
                "policy", f"{name} Almgren-Chriss gap closed", share, ">= .95", share >= 0.95, shown, 1.0, _told(closed)
            )
        )
    return gates


def _sold(learn: Learn, seed: int) -> float:
    """Exact cost of the schedule that the learned policy follows."""
    actor = learn(slices.AlmgrenChriss(64, _draws(seed)), seed)
    return slices.cost(slices.schedule(lambda observation: _chosen(actor, observation)))


def _ppo_trading(_: bool) -> list[Gate]:
    """Three runs of ours and three of the judge's, on equal steps."""
    from cryptoai.testing.envs import judge

    budget = judge.Budget(PPO_TRADING.steps(LIVES), PPO_TRADING.config.gamma)
    ours = [_captured(_ppo(PPO_TRADING), LIVES, seed) for seed in SEEDS]
    theirs = [_judged(judge.judge_ppo(_market(seed, 16), budget, seed=seed)) for seed in SEEDS]
    return [_trading_gate(f"PPO Garleanu-Pedersen capture, {budget.steps} steps", ours, theirs)]


def _sac_trading(_: bool) -> list[Gate]:
    """Three runs of ours and three of the judge's, on equal steps and updates."""
    from cryptoai.testing.envs import judge

    budget = judge.Budget(SAC_TRADING.steps(MANY), SAC_TRADING.config.gamma)
    ours = [_captured(_sac(SAC_TRADING), MANY, seed) for seed in SEEDS]
    theirs = [
        _judged(judge.judge_sac(_market(seed, MANY), budget, updates=SAC_TRADING.updates_per_round, seed=seed))
        for seed in SEEDS
    ]
    return [_trading_gate(f"SAC Garleanu-Pedersen capture, {budget.steps} steps", ours, theirs)]


def _market(seed: int, lives: int) -> GarleanuPedersen:
    return GarleanuPedersen(lives, _draws(seed))


def _captured(learn: Learn, lives: int, seed: int) -> float:
    actor = learn(_market(seed, lives), seed)
    return _judged(lambda observation: _chosen(actor, observation))


def _judged(act: Callable[[Tensor], Tensor]) -> float:
    """Every policy on the same 2,048 lives of 400 steps, none of which was learned from."""
    return _market(0, 1).capture(act, seed=7)


def _trading_gate(metric: str, ours: list[float], theirs: list[float]) -> Gate:
    market = PlantedAlpha()
    rate, aim = market.optimum()
    shown = {
        "stable-baselines3": median(theirs), "myopic Markowitz": market.capture(1.0, market.markowitz),
        "half size": market.capture(rate, 0.5 * aim), "twice the rate": market.capture(2.0 * rate, aim),
    }  # fmt: skip
    passed = median(ours) >= 0.95 and median(ours) >= median(theirs) - 0.01
    note = f"ours {_told(ours)}; judge {_told(theirs)}"
    return Gate("policy", metric, median(ours), ">= .95 and >= the judge - .01", passed, shown, 1.0, note)


RECORDED = replace(PPO_PLAN, config=replace(PPO_PLAN.config, entropy=0.01), length=16)
ROWS = 20_000


def _honesty(quick: bool) -> list[Gate]:
    """Trained on a recorded path, judged on another; with an edge, without one, and with the labels shuffled."""
    noise, planted = PlantedAlpha(r_squared=0.0), PlantedAlpha()
    seeds = (SEEDS[0],) if quick else SEEDS
    flat = [_sharpe(_lived(noise, noise.path(ROWS, _numbers(seed)), seed), noise, seed) for seed in seeds]
    real = [_sharpe(_lived(planted, planted.path(ROWS, _numbers(seed)), seed), planted, seed) for seed in seeds]
    shuffled = [
        _skill(_lived(planted, _shuffled(planted.path(ROWS, _numbers(seed)), seed), seed), planted, seed)
        for seed in range(SEEDS[0], SEEDS[0] + (3 if quick else 6))
    ]
    return [_noise_gate(flat), _edge_gate(real, planted), _shuffled_gate(shuffled)]


def _numbers(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _shuffled(path: AlphaPath, seed: int) -> AlphaPath:
    return AlphaPath(path.signal, _numbers(seed + 500).permutation(path.returns))


def _lived(market: PlantedAlpha, path: AlphaPath, seed: int) -> Actor:
    return _ppo(RECORDED)(Recorded(64, _draws(seed), path, market), seed)


def _held(actor: Actor, market: PlantedAlpha, seed: int) -> tuple[Tensor, Tensor]:
    """Positions and returns on a path that was not learned from, float64."""
    path = market.path(ROWS, _numbers(seed + 1000))
    signal = torch.as_tensor(path.signal, dtype=torch.float32).unsqueeze(-1)
    return positions(_chosen(actor, signal)).double(), torch.as_tensor(path.returns)


def _sharpe(actor: Actor, market: PlantedAlpha, seed: int) -> tuple[float, float, float]:
    held, returns = _held(actor, market, seed)
    return sharpe_interval(held * returns)


def _skill(actor: Actor, market: PlantedAlpha, seed: int) -> float:
    """Expected utility over that of free Markowitz trading, on the true signal."""
    path = market.path(ROWS, _numbers(seed + 1000))
    signal = torch.as_tensor(path.signal)
    held = positions(_chosen(actor, signal.float().unsqueeze(-1))).double()
    return _utility(held, signal, market) / _utility(market.markowitz * signal, signal, market)


def _utility(held: Tensor, signal: Tensor, market: PlantedAlpha) -> float:
    risk = 0.5 * market.risk_aversion * market.sigma**2
    return float((held * market.slope * signal - risk * held.square()).mean())


def _noise_gate(intervals: list[tuple[float, float, float]]) -> Gate:
    inside = all(low <= 0.0 <= high for _, low, high in intervals)
    ratio = median(ratio for ratio, _, _ in intervals)
    return Gate("policy", "noise-only market, Sharpe a step before costs", ratio, "interval contains 0 for every seed",
                inside, {"flat": 0.0}, 0.0, _intervals(intervals))  # fmt: skip


def _edge_gate(intervals: list[tuple[float, float, float]], market: PlantedAlpha) -> Gate:
    above = all(low > 0.0 for _, low, _ in intervals)
    best = market.slope / market.sigma
    return Gate("policy", "planted market, Sharpe a step before costs", median(ratio for ratio, _, _ in intervals),
                "interval above 0 for every seed", above, {"flat": 0.0}, best, _intervals(intervals))  # fmt: skip


def _shuffled_gate(skills: list[float]) -> Gate:
    mean, error = fmean(skills), stdev(skills) / len(skills) ** 0.5
    return Gate(
        "policy", "labels shuffled, share of the optimal utility", mean, "not above 0 by 2 standard errors",
        mean <= 2.0 * error, {"flat": 0.0}, 1.0, f"se {error:.3f}, {_told(skills)}",
    )  # fmt: skip


def _intervals(intervals: list[tuple[float, float, float]]) -> str:
    return "95 % " + ", ".join(f"[{low:.4f}, {high:.4f}]" for _, low, high in intervals)


CHECKS: tuple[Check, ...] = (
    Check("policy.probes", _probes),
    Check("policy.leverage", _merton),
    Check("policy.timing", _slices),
    Check("policy.trading_ppo", _ppo_trading, quick=False),
    Check("policy.trading_sac", _sac_trading, quick=False),
    Check("policy.honesty", _honesty),
)
