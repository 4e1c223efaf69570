"""Descending a loss: what the encoder and world model stages have in common.

An objective says what a batch is and what it costs; `GradientStage` makes a Trainer stage of it: AdamW, warm-up and
cosine, clipping, bfloat16 on CUDA, gradients averaged over ranks, the best parameters kept. A loss or gradient that is
not finite stops it before the parameters are touched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cryptoai.core.errors import PermanentError
from cryptoai.training.parallel import Ranks
from cryptoai.training.seeds import generator

__all__ = [
    "DivergedError",
    "GradientConfig",
    "GradientStage",
    "Objective",
    "learning_rate",
    "load_optimizer",
    "optimizer_tensors",
]

B = TypeVar("B")


class DivergedError(PermanentError):
    """The loss is no number any more."""


@dataclass(frozen=True, slots=True)
class GradientConfig:
    """Settings of the descent."""

    learning_rate: float = 3e-4
    """Peak, after warm-up."""
    warm_up: float = 0.05
    """Share of the stage in which the rate rises linearly."""
    floor: float = 0.05
    """Share of the peak that the cosine ends at."""
    weight_decay: float = 0.01
    """Of matrices only; gains and biases are left alone."""
    clip: float = 1.0
    """Norm at which gradients are clipped."""


class Objective(Protocol[B]):
    """What is trained, on what, and how it is scored."""

    name: str
    steps: int
    sequences: int
    length: int
    score_every: int
    module: nn.Module

    def batch(self, ranks: Ranks, step: int) -> B:
        """This rank's share of step `step`; a pure function of its arguments."""
        ...

    def loss(self, batch: B, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise and its terms."""
        ...

    def score(self) -> float | None:
        """How bad the present parameters are on data they were not fitted to; None if that cannot be said."""
        ...


class GradientStage:
    """A `Stage` of the Trainer that minimises an objective with AdamW."""

    def __init__(self, objective: Objective[Any], config: GradientConfig, ranks: Ranks, seed: int) -> None:
        self.name, self.steps = objective.name, objective.steps
        self.sequences, self.length = objective.sequences, objective.length
        self._objective, self._config, self._ranks, self._seed = objective, config, ranks, seed
        self._module = objective.module.to(ranks.device)
        self._optimizer = torch.optim.AdamW(_groups(self._module, config), lr=config.learning_rate)
        self._forward = _parallel(_Loss(objective), ranks)
        self._best: dict[str, Tensor] = {}
        self._best_score = math.inf

    def update(self, step: int, progress: float) -> dict[str, float]:
        if step % self._objective.score_every == 0:
            self._keep_best()
        rate = learning_rate(self._config, step, self.steps, progress)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        batch = self._objective.batch(self._ranks, step)
        draws = generator(self._ranks.device, self._seed, self.name, self._ranks.rank, step)
        with torch.autocast(self._ranks.device.type, torch.bfloat16, enabled=self._ranks.device.type == "cuda"):
            loss, terms = self._forward(batch, draws)
        norm = self._descend(loss, step)
        return {"loss": float(loss.detach()), "gradient": norm, "rate": rate} | {
            name: float(term.detach()) for name, term in terms.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        model = {f"model.{name}": tensor for name, tensor in self._module.state_dict().items()}
        best = {f"best.{name}": tensor for name, tensor in self._best.items()}
        score = {"best_score": torch.tensor(self._best_score, dtype=torch.float64)}
        return model | best | score | optimizer_tensors(self._optimizer)

    def load(self, tensors: dict[str, Tensor]) -> None:
        self._module.load_state_dict(_below("model.", tensors))
        self._best = {name: tensor.to(self._ranks.device) for name, tensor in _below("best.", tensors).items()}
        self._best_score = float(tensors["best_score"])
        load_optimizer(self._optimizer, tensors)

    def finish(self) -> None:
        """Puts the best parameters in place, if any could be scored."""
        self._keep_best()
        if self._best:
            self._module.load_state_dict(self._best)

    def _descend(self, loss: Tensor, step: int) -> float:
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = float(nn.utils.clip_grad_norm_(self._module.parameters(), self._config.clip))
        # The norm is that of the averaged gradient: all ranks stop together.
        if not math.isfinite(norm):
            raise DivergedError(
                f"stage {self.name}: loss {float(loss.detach())} with gradient norm {norm} at step {step}; the last "
                "good parameters are in its checkpoint: lower training.learning_rate or look for bad values in the data"
            )
        self._optimizer.step()
        return norm

    def _keep_best(self) -> None:
        score = self._objective.score()
        if score is None:
            return
        score = self._ranks.lead(score)
        if score < self._best_score:
            self._best_score = score
            self._best = {name: tensor.detach().clone() for name, tensor in self._module.state_dict().items()}


def learning_rate(config: GradientConfig, step: int, steps: int, progress: float) -> float:
    """Linear warm-up by steps, then a cosine in `progress` down to the floor."""
    warm = min(1.0, (step + 1) / max(1.0, config.warm_up * steps))
    cosine = config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return config.learning_rate * warm * cosine


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments as optimizer.<parameter number>.<name>."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{index}.{name}": tensor for index, slots in state.items() for name, tensor in slots.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _below("optimizer.", tensors).items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


class _Loss(nn.Module):
    """The objective as a module, so that the parallel wrapper sees its parameters and its forward."""

    def __init__(self, objective: Objective[Any]) -> None:
        super().__init__()
        self.module = objective.module
        self._objective = objective

    def forward(self, batch: Any, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return self._objective.loss(batch, draws)


def _parallel(module: nn.Module, ranks: Ranks) -> nn.Module:
    return module if ranks.world == 1 else DistributedDataParallel(module, forward_sync_buffers=False)


def _groups(module: nn.Module, config: GradientConfig) -> list[dict[str, Any]]:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
