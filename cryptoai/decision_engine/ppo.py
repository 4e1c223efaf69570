"""Proximal policy optimisation (Schulman et al. 2017), with the details that make it work (Huang et al. 2022).

Training calls `update` once per rollout. The rollout decides what was lived, PPO only learns from it: it must never
step a world model or an environment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from cryptoai.core.errors import InvariantError
from cryptoai.decision_engine.gae import gae
from cryptoai.decision_engine.reward import WEIGHTS
from cryptoai.decision_engine.rollout import Rollout

__all__ = ["PPO", "PPOConfig"]


@dataclass(frozen=True, slots=True)
class PPOConfig:
    """Settings of the learner."""

    learning_rate: float = 3e-4
    """Of Adam, at the first update; falls linearly to a twentieth over `updates`."""
    updates: int = 100
    """Number of calls of `update` that the learning rate is planned for."""
    epochs: int = 4
    """Passes over one rollout."""
    minibatches: int = 4
    """Parts of one pass, each an optimiser step."""
    gamma: float = 0.97
    """Discount of one decision interval; 1 / (1 - gamma) is how far ahead the value looks."""
    lam: float = 0.95
    """Trade of bias against variance in the advantage."""
    clip: float = 0.2
    """Largest change of the probability ratio that is rewarded."""
    entropy: float = 1e-3
    """Weight of the entropy bonus; rewards are in volatility units, of order one."""
    value: float = 0.5
    """Weight of the critic's loss."""
    max_grad_norm: float = 0.5
    """Norm at which gradients are clipped."""
    weights: tuple[float, ...] = WEIGHTS
    """Weight of each objective in the advantage."""
    seed: int = 0
    """Of the order of the minibatches and of the entropy's draws."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one optimiser step reads of a rollout: N = T B rows once it is flat."""

    inputs: tuple[Tensor, ...]
    raw: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor

    def rows(self, chosen: Tensor) -> _Batch:
        return self.each(lambda column: column[chosen])

    def each(self, change: Callable[[Tensor], Tensor]) -> _Batch:
        columns = (self.raw, self.log_probs, self.advantages, self.returns)
        return _Batch(tuple(map(change, self.inputs)), *map(change, columns))


class PPO:
    """The learner of one policy and one critic; `optimizer`, `generator` and `updates` are what a resume restores.

    policy: the rollout's inputs -> a distribution with `log_prob` and `entropy`, as `Policy` or `actor_critic.Actor`;
    critic: the same inputs -> values (N, K).
    """

    def __init__(self, policy: nn.Module, critic: nn.Module, config: PPOConfig) -> None:
        self.policy, self.critic, self.config = policy, critic, config
        self._parameters = [*policy.parameters(), *critic.parameters()]
        self.optimizer = torch.optim.Adam(self._parameters, lr=config.learning_rate, eps=1e-5)
        self.generator = torch.Generator(device=self._parameters[0].device).manual_seed(config.seed)
        self.updates = 0

    def update(self, rollout: Rollout) -> dict[str, float]:
        """Learns from one rollout and returns the means of its diagnostics.

        loss_policy, loss_value, entropy, approx_kl (k3 of Schulman 2020), clip_fraction, ratio_error (mean |ratio - 1|)
        and grad_norm over all minibatches; first_ratio (ratio_error of the first: 0 but for rounding),
        explained_variance (of the net value, before the update), reward (mean weighted reward a step), learning_rate.
        InvariantError if a loss is not finite.
        """
        rate = self._anneal()
        batch = self._flatten(rollout)
        steps = [self._step(batch.rows(chosen)) for chosen in self._minibatches(len(batch.raw))]
        self.updates += 1
        report = {name: fmean(step[name] for step in steps) for name in steps[0]}
        report["first_ratio"] = steps[0]["ratio_error"]
        report["explained_variance"] = _explained_variance(batch, rollout)
        report["reward"] = float((rollout.rewards * self._weights(rollout.rewards)).sum(-1).mean())
        return report | {"learning_rate": rate}

    def _anneal(self) -> float:
        left = 1.0 - self.updates / max(self.config.updates, 1)
        rate = self.config.learning_rate * max(left, 0.05)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _weights(self, like: Tensor) -> Tensor:
        weights = torch.tensor(self.config.weights, dtype=like.dtype, device=like.device)
        if weights.shape != like.shape[-1:]:
            raise InvariantError(f"{len(weights)} objective weights for {like.shape[-1]} objectives")
        return weights

    def _flatten(self, rollout: Rollout) -> _Batch:
        ends = rollout.terminated, rollout.truncated
        values = rollout.values, rollout.next_values
        each = gae(rollout.rewards, values, ends, gamma=self.config.gamma, lam=self.config.lam)
        return _Batch(
            rollout.inputs, rollout.raw, rollout.log_probs,
            (each * self._weights(each)).sum(-1), each + rollout.values,
        ).each(lambda column: column.flatten(0, 1))  # fmt: skip

    def _minibatches(self, rows: int) -> list[Tensor]:
        device = self.generator.device
        orders = [torch.randperm(rows, generator=self.generator, device=device) for _ in range(self.config.epochs)]
        return [part for order in orders for part in order.chunk(self.config.minibatches)]

    def _step(self, batch: _Batch) -> dict[str, float]:
        actions = self.policy(*batch.inputs)
        log_ratio = actions.log_prob(batch.raw) - batch.log_probs
        ratio = log_ratio.exp()
        loss_policy = _clipped_loss(ratio, _normalised(batch.advantages), self.config.clip)
        loss_value = 0.5 * (self.critic(*batch.inputs) - batch.returns).square().sum(-1).mean()
        entropy = actions.entropy(self.generator).mean()
        grad_norm = self._descend(loss_policy + self.config.value * loss_value - self.config.entropy * entropy)
        with torch.no_grad():
            off = ratio - 1.0
            kl = (off - log_ratio).mean()
            clipped = (off.abs() > self.config.clip).float().mean()
        named = {
            "loss_policy": loss_policy, "loss_value": loss_value, "entropy": entropy, "approx_kl": kl,
            "clip_fraction": clipped, "ratio_error": off.abs().mean(), "grad_norm": grad_norm,
        }  # fmt: skip
        return {name: float(value.detach()) for name, value in named.items()}

    def _descend(self, loss: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        if not torch.isfinite(loss) or not torch.isfinite(norm):
            raise InvariantError(
                f"the policy's loss is {loss.item()} with gradient norm {norm.item()}; no step was taken"
            )
        self.optimizer.step()
        return norm


def _clipped_loss(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    return -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage).mean()


def _normalised(advantage: Tensor) -> Tensor:
    centred = advantage - advantage.mean()
    return centred / (centred.square().mean().sqrt() + 1e-8)


def _explained_variance(batch: _Batch, rollout: Rollout) -> float:
    target, guess = batch.returns.sum(-1), rollout.values.flatten(0, 1).sum(-1)
    variance = float(target.var(correction=0))
    return 1.0 - float((target - guess).var(correction=0)) / variance if variance > 1e-12 else 0.0
