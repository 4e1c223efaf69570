"""The judge: stable-baselines3 on the very environments that our learners live in, step for step.

The full policy gates import this module when they run: stable-baselines3 and gymnasium are extras. It must never give
the judge fewer steps, other noise or another discount than ours has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from cryptoai.testing.envs.lives import Lives, Moment

__all__ = ["Budget", "JudgedLives", "judge_ppo", "judge_sac"]

Act = Callable[[Tensor], Tensor]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Budget:
    """steps of the environment, all lives together, and the discount to learn with: the same as ours."""

    steps: int
    gamma: float


def judge_ppo(environment: Lives, budget: Budget, *, seed: int) -> Act:
    """The judge's PPO as observation -> action; its defaults but for the annealed rate, batch and discount."""
    model = PPO(
        "MlpPolicy", JudgedLives(environment), learning_rate=lambda left: 1e-3 * left, gamma=budget.gamma, seed=seed,
        n_steps=2048 // environment.lives, batch_size=256, device="cpu",
    )  # fmt: skip
    return _act(model.learn(budget.steps))


def judge_sac(environment: Lives, budget: Budget, *, updates: int, seed: int) -> Act:
    """The judge's SAC as observation -> action; `updates` after each step of all lives, else as `judge_ppo`."""
    model = SAC(
        "MlpPolicy", JudgedLives(environment), learning_rate=lambda left: 1e-3 * left, gamma=budget.gamma, seed=seed,
        gradient_steps=updates, learning_starts=1000, policy_kwargs={"net_arch": [64, 64]}, device="cpu",
    )  # fmt: skip
    return _act(model.learn(budget.steps))


class JudgedLives(VecEnv):
    """`Lives` as a `VecEnv`, truncation and true successor told apart as the judge asks; only what `learn` needs."""

    def __init__(self, environment: Lives) -> None:
        self.environment = environment
        seen = spaces.Box(-np.inf, np.inf, (environment.observation_dim,), np.float32)
        super().__init__(environment.lives, seen, spaces.Box(-1.0, 1.0, (environment.action_dim,), np.float32))

    def reset(self) -> Floats:
        """The lives go on where they are."""
        return _floats(self.environment.observation())

    def step_async(self, actions: Floats) -> None:
        """Acts."""
        self._moment = self.environment.step(torch.as_tensor(actions, dtype=torch.float32))

    def step_wait(self) -> tuple[Floats, Floats, npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Observation, reward, done and infos of the last act."""
        moment = self._moment
        done = (moment.terminated | moment.truncated).numpy()
        return _floats(moment.observation), _floats(moment.reward), done, _infos(moment)

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, *_: Any) -> list[Any]:
        """No life can be drawn; nothing else is there to get."""
        if attr_name != "render_mode":
            raise NotImplementedError(f"the lives have no attribute {attr_name}")
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, *_: Any) -> None:
        """Refused."""
        raise NotImplementedError(f"the lives have no attribute {attr_name}")

    def env_method(self, method_name: str, *_: Any, **__: Any) -> list[Any]:
        """Refused."""
        raise NotImplementedError(f"the lives have no method {method_name}")

    def env_is_wrapped(self, *_: Any) -> list[bool]:
        """They are not."""
        return [False] * self.num_envs


def _act(model: Any) -> Act:
    def act(observation: Tensor) -> Tensor:
        action, _ = model.predict(observation.numpy(), deterministic=True)
        return torch.as_tensor(action)

    return act


def _infos(moment: Moment) -> list[dict[str, Any]]:
    infos: list[dict[str, Any]] = [{} for _ in range(len(moment.reward))]
    for life in torch.nonzero(moment.terminated | moment.truncated).flatten().tolist():
        infos[life]["terminal_observation"] = _floats(moment.successor[life])
        infos[life]["TimeLimit.truncated"] = bool(moment.truncated[life])
    return infos


def _floats(values: Tensor) -> Floats:
    return np.asarray(values.numpy(), dtype=np.float32)
