"""How much memory a training needs, before it is started: what is held for every weight, and what a step keeps.

Used by the size gate, by benchmarks/train.py and by whoever chooses a machine. Activations are measured on the CPU in
float32, by what autograd saves; on CUDA bfloat16 keeps about half of that, so the estimate is from above. It leaves out
the allocator's reserve and the kernels' scratch space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cryptoai.core.config import Config
from cryptoai.decision_engine.rollout import Rollout
from cryptoai.training.dataset import Dataset
from cryptoai.training.parallel import Ranks
from cryptoai.training.recipe import Job, prepare
from cryptoai.training.seeds import generator
from cryptoai.training.stages import PolicyStage, WorldModelObjective
from cryptoai.world_model.model import Batch

__all__ = ["MemoryEstimate", "estimated", "saved_bytes"]

WEIGHT_COPIES = 6
"""Of every weight: itself, its gradient, Adam's two moments, the average, and the best average."""


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on one device. weights: all copies of all parameters; step: what one step of a stage keeps at once."""

    parameters: int
    weights: int
    world_model_step: int
    policy_step: int

    @property
    def total(self) -> int:
        """Of the stage that needs most, with the weights of all."""
        return self.weights + max(self.world_model_step, self.policy_step)


def estimated(datasets: list[Dataset], config: Config) -> MemoryEstimate:
    """For one of any number of devices; `datasets` give the rows that a batch is taken from, not its size."""
    job = prepare(datasets, config, Ranks())
    parameters = sum(p.numel() for module in (job.model, job.policy, job.critic) for p in module.parameters())
    return MemoryEstimate(parameters, WEIGHT_COPIES * 4 * parameters, _world_model_step(job), _policy_step(job))


def saved_bytes(work: Callable[[], object], modules: Iterable[nn.Module]) -> int:
    """Bytes that autograd keeps for the backward pass of `work()`; parameters and shared storage count once or not."""
    own = {p.untyped_storage().data_ptr() for module in modules for p in module.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()
    del result
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in own)


def _world_model_step(job: Job) -> int:
    """As many shards as are held at once, and the batch itself."""
    objective = WorldModelObjective(job.model, job.corpus, job.config, job.ranks)
    batch = objective.batch(job.ranks, 0, 0)
    draws = generator(job.ranks.device, job.config.training.seed, "estimate")
    kept = saved_bytes(lambda: objective.loss(batch, draws), [job.model])
    return (kept + _bytes(batch)) * max(1, objective.shards // 2)


def _policy_step(job: Job) -> int:
    """Cache and rollout of all imagined lives, and the graph of one pass over them."""
    stage = PolicyStage(job.model, job.policy, job.critic, job.corpus, job.config, job.ranks, job.cost)
    rollout = stage.live(0, 0)
    lives = _bytes(rollout) * stage.shards
    steps = job.config.model.context + job.config.training.horizon
    cache = 2 * 4 * job.config.model.layers * stage.sequences * steps * job.config.model.hidden_dim
    seen = [x.flatten(0, 1) for x in rollout.inputs]
    graph = saved_bytes(lambda: (job.policy(*seen).mode(), job.critic(*seen)), [job.policy, job.critic])
    return lives + cache + graph * stage.shards


def _bytes(columns: Batch | Rollout) -> int:
    found = (getattr(columns, name) for name in columns.__slots__)
    return sum(int(tensor.nbytes) for tensor in found if tensor is not None)
