"""Descending a loss: what the encoder and world model stages have in common.

An objective says what a batch is and what it costs; `GradientStage` makes a Trainer stage of it: AdamW, warm-up and
cosine, clipping, bfloat16 on CUDA, the weights averaged, the best average kept. A step is dealt out in shards, each
with draws of its own: however many processes share them, and however few fit into memory, the gradient is the same.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cryptoai.core.errors import PermanentError
from cryptoai.training.average import WeightAverage
from cryptoai.training.guard import Guard
from cryptoai.training.memory import MemoryPlan, is_out_of_memory, recomputed
from cryptoai.training.meter import counted
from cryptoai.training.parallel import Ranks
from cryptoai.training.seeds import generator

__all__ = [
    "GradientConfig",
    "GradientStage",
    "Objective",
    "OutOfMemoryError",
    "below",
    "learning_rate",
    "load_optimizer",
    "optimizer_tensors",
]

B = TypeVar("B")


class OutOfMemoryError(PermanentError):
    """Not even one shard fits with its activations recomputed."""


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
    average: float = 0.999
    """Most that the average of the weights keeps of itself a step."""
    patience: int = 5
    """Steps in a row without a finite gradient that end the stage."""


class Objective(Protocol[B]):
    """What is trained, on what, and how it is scored. `shards`: parts of a step's batch, a multiple of the ranks."""

    name: str
    steps: int
    sequences: int
    length: int
    shards: int
    score_every: int
    module: nn.Module

    def batch(self, ranks: Ranks, step: int, shard: int) -> B:
        """One shard of step `step`, on the rank's device; a pure function of step and shard."""
        ...

    def loss(self, batch: B, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise and its terms, means over the shard."""
        ...

    def score(self) -> float | None:
        """How bad the present parameters are on data they were not fitted to; None if that cannot be said."""
        ...


class GradientStage:
    """A `Stage` of the Trainer that minimises an objective with AdamW; a step costs the mean over its shards."""

    def __init__(self, objective: Objective[Any], config: GradientConfig, ranks: Ranks, seed: int) -> None:
        self.name, self.steps = objective.name, objective.steps
        self.sequences, self.length = objective.sequences, objective.length
        self.objective, self._config, self._ranks, self._seed = objective, config, ranks, seed
        self._module = objective.module.to(ranks.device)
        self._optimizer = torch.optim.AdamW(_groups(self._module, config), lr=config.learning_rate, fused=True)
        self._forward = _parallel(_Loss(objective), ranks)
        self._average = WeightAverage(self._module, config.average)
        self._guard = Guard(self.name, config.patience)
        # Half of the shards at once, so that one process adds up as two do: their results are equal bit by bit.
        self.memory = MemoryPlan(max(1, objective.shards // 2))
        self._rehearsed = ranks.world == 1
        self._best: dict[str, Tensor] = {}
        self._best_score = math.inf

    def update(self, step: int, progress: float) -> dict[str, float]:
        if step % self.objective.score_every == 0:
            self._keep_best()
        rate = learning_rate(self._config, step, self.steps, progress)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        terms = self._accumulate_in_memory(step)
        terms["gradient"] = self._descend(terms["loss"], step)
        return terms | {"rate": rate, "skipped": float(self._guard.skipped)}

    def tensors(self) -> dict[str, Tensor]:
        model = {f"model.{name}": tensor for name, tensor in self._module.state_dict().items()}
        average = {f"average.{name}": tensor for name, tensor in self._average.tensors().items()}
        best = {f"best.{name}": tensor for name, tensor in self._best.items()}
        score = {"best_score": torch.tensor(self._best_score, dtype=torch.float64)}
        skipped = {"skipped": torch.tensor([self._guard.skipped, self._guard.in_a_row])}
        return model | average | best | score | skipped | optimizer_tensors(self._optimizer)

    def load(self, tensors: dict[str, Tensor]) -> None:
        self._module.load_state_dict(below("model.", tensors))
        self._average.load(below("average.", tensors))
        self._best = {name: tensor.to(self._ranks.device) for name, tensor in below("best.", tensors).items()}
        self._best_score = float(tensors["best_score"])
        self._guard.skipped, self._guard.in_a_row = (int(count) for count in tensors["skipped"])
        load_optimizer(self._optimizer, tensors)

    def finish(self) -> None:
        """Puts the best average in place, or the last one where nothing could be scored."""
        self._keep_best()
        self._average.settle()
        if self._best:
            self._module.load_state_dict(self._best)
        recomputed(self._module, on=False)

    def operations(self) -> float:
        """Floating-point operations of one step, over all ranks; learns nothing."""
        batch = self.objective.batch(self._ranks, 0, 0)
        one = counted(lambda: torch.autograd.backward(self.objective.loss(batch, self._draws(0, 0))[0]))
        self._optimizer.zero_grad(set_to_none=True)
        return one * self.objective.shards

    def _accumulate_in_memory(self, step: int) -> dict[str, float]:
        """Leaves the gradient of the whole step in the parameters; shrinks the plan until it fits."""
        if not self._rehearsed:
            self._rehearse(step)
        while True:
            try:
                return self._accumulate(step)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if self._ranks.world > 1 or not is_out_of_memory(error):
                    raise  # the others already wait for this rank's gradient: the launcher starts all anew
            self._shrink()

    def _rehearse(self, step: int) -> None:
        """Several ranks settle on one plan before any waits for another's gradient."""
        while True:
            full = False
            try:
                self._accumulate(step, alone=True)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                full = True
            if not self._ranks.any(full):
                break
            self._shrink()
        self._rehearsed = True

    def _shrink(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        if self._ranks.device.type == "cuda":
            torch.cuda.empty_cache()
        if not self.memory.shrink():
            raise OutOfMemoryError(
                f"stage {self.name}: one part in {self.objective.shards} of a batch does not fit into memory, even "
                "with its activations recomputed; lower training.batch_size, training.sequence or model.hidden_dim"
            )
        recomputed(self._module, on=self.memory.recompute)

    def _accumulate(self, step: int, *, alone: bool = False) -> dict[str, float]:
        self._optimizer.zero_grad(set_to_none=True)
        mine = self._ranks.share(self.objective.shards)
        passes, sums = self.memory.passes(mine), dict[str, float]()
        for number, shards in enumerate(passes):
            with self._quiet(alone or number + 1 < len(passes)):
                for name, value in self._one_pass(step, shards, len(shards) / len(mine)).items():
                    sums[name] = sums.get(name, 0.0) + value
        return sums if alone else self._ranks.mean(sums)

    def _one_pass(self, step: int, shards: range, weight: float) -> dict[str, float]:
        batches = [self.objective.batch(self._ranks, step, shard) for shard in shards]
        draws = [self._draws(step, shard) for shard in shards]
        with torch.autocast(self._ranks.device.type, torch.bfloat16, enabled=self._ranks.device.type == "cuda"):
            terms = self._forward(batches, draws)
        torch.autograd.backward(terms["loss"] * weight)
        return {name: float(term.detach()) * weight for name, term in terms.items()}

    def _draws(self, step: int, shard: int) -> torch.Generator:
        return generator(self._ranks.device, self._seed, self.name, step, shard)

    def _quiet(self, on: bool) -> AbstractContextManager[None]:
        """Without the exchange of gradients, where several ranks have more to add first."""
        if on and isinstance(self._forward, DistributedDataParallel):
            quiet: AbstractContextManager[None] = self._forward.no_sync()
            return quiet
        return nullcontext()

    def _descend(self, loss: float, step: int) -> float:
        norm = float(nn.utils.clip_grad_norm_(self._module.parameters(), self._config.clip))
        # The norm is that of the averaged gradient: all ranks skip together, and stop together.
        if not math.isfinite(norm):
            self._guard.bad(step, f"loss {loss} with gradient norm {norm}")
            return norm
        self._guard.good()
        self._optimizer.step()
        self._average.update()
        return norm

    def _keep_best(self) -> None:
        with self._average.in_place():
            score = self.objective.score()
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
    for key, tensor in below("optimizer.", tensors).items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


class _Loss(nn.Module):
    """The objective as a module, so that the parallel wrapper sees its parameters and its forward."""

    def __init__(self, objective: Objective[Any]) -> None:
        super().__init__()
        self.module = objective.module
        self._objective = objective

    def forward(self, batches: list[Any], draws: list[torch.Generator]) -> dict[str, Tensor]:
        """The mean over shards of the loss, as 'loss', and of each term."""
        found = [self._objective.loss(batch, own) for batch, own in zip(batches, draws, strict=True)]
        columns = {"loss": [loss for loss, _ in found]}
        columns |= {name: [terms[name] for _, terms in found] for name in found[0][1]}
        return {name: torch.stack(column).mean() for name, column in columns.items()}


def _parallel(module: nn.Module, ranks: Ranks) -> nn.Module:
    return module if ranks.world == 1 else DistributedDataParallel(module, forward_sync_buffers=False)


def _groups(module: nn.Module, config: GradientConfig) -> list[dict[str, Any]]:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
