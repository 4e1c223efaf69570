"""What would have happened had we acted otherwise: same history, same noise, two action sequences, two paths.

The world model says what the market does by itself, since it does not react to a small trader; `impact` says what the
actions add. Both branches are rolled out from a fork of one memory with generators of one seed, so their difference is
the actions alone, and equal actions give equal paths to the last bit. Research and the gates call it; the decision
engine does not. It must never draw from a shared generator: then the branches would have other noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryptoai.core.errors import DataError, InvariantError
from cryptoai.world_model.impact import Effect, Propagator
from cryptoai.world_model.model import Latent, WorldModel

__all__ = ["Context", "Counterfactual", "counterfactual"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Context:
    """What is known when the branches part: values, mask (1, T, 200), newest last, and actions float64[A] taken so far.

    Past actions still move the price afterwards, in both branches alike.
    """

    values: Tensor
    mask: Tensor
    actions: Floats


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """first, second: float64[paths, H] cumulative log returns after each step under either action sequence.

    effect: first minus second, with its interval. `extrapolates`: an action is larger than any that the impact was
    measured with, so the effect is a guess there.
    """

    first: Floats
    second: Floats
    effect: Effect
    extrapolates: bool


def counterfactual(
    model: WorldModel,
    impact: Propagator,
    context: Context,
    first: Floats,
    second: Floats,
    *,
    seed: int,
    paths: int = 64,
) -> Counterfactual:
    """Actions [H] in the units that `impact` was measured in; InvariantError if the two are not of one length."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise InvariantError(f"two action sequences of one length are needed, not {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError("actions must be finite numbers")
    wide = (context.values.expand(paths, -1, -1), context.mask.expand(paths, -1, -1))
    start = model.start(*wide, torch.Generator(context.values.device).manual_seed(seed), room=len(first))
    branches = [_branch(model, impact, start.fork(), (context.actions, actions), seed) for actions in (first, second)]
    effect = impact.effect(first, second)
    return Counterfactual(branches[0], branches[1], effect, not impact.known(first, second))


def _branch(model: WorldModel, impact: Propagator, latent: Latent, actions: tuple[Floats, Floats], seed: int) -> Floats:
    """Cumulative log returns [paths, H] of one branch; actions: (taken before, taken now)."""
    past, now = actions
    moved = impact.respond(np.concatenate([past, now]))[len(past) :]
    market = _roll(model, latent, len(now), torch.Generator(latent.h.device).manual_seed(seed + 1))
    return np.asarray(np.cumsum(market + moved, axis=1))


def _roll(model: WorldModel, latent: Latent, steps: int, generator: torch.Generator) -> Floats:
    """Log returns [paths, steps] of the market left to itself."""
    scale, returns = float(model.return_scale), []
    for _ in range(steps):
        latent, drawn = model.step(latent, generator)
        returns.append(drawn.double().cpu().numpy() * scale)
    return np.stack(returns, axis=1)
