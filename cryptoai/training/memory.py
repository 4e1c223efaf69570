"""How a step is made to fit into memory: fewer shards at once, then activations recomputed instead of kept.

`GradientStage` asks it after an out-of-memory error. Neither measure changes what is learned: the same shards with the
same draws give the same gradient, only summed in another order. It must never change the batch itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["MemoryPlan", "is_out_of_memory", "peak_memory", "recomputed"]


@dataclass(slots=True)
class MemoryPlan:
    """together: shards whose activations are held at once; recompute: whether repeated blocks keep theirs at all."""

    together: int
    recompute: bool = False

    def shrink(self) -> bool:
        """Takes the next measure; False if none is left."""
        if self.together > 1:
            self.together = -(-self.together // 2)
            return True
        tried, self.recompute = self.recompute, True
        return not tried

    def passes(self, shards: range) -> list[range]:
        """The shards of one rank, cut into passes."""
        return [shards[at : at + self.together] for at in range(0, len(shards), self.together)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator, or the allocator of the CPU, had no room."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def recomputed(module: nn.Module, on: bool) -> None:
    """Gradient checkpointing (Chen et al. 2016) of every block of every `nn.ModuleList` below `module`, or its end.

    A block then keeps its inputs only and runs again in the backward pass; its parameters and names stay as they are.
    """
    for block in _blocks(module):
        block.__dict__.pop("forward", None)
        if on:
            block.__dict__["forward"] = _checkpointed(block.forward)


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return run


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for part in module.modules():
        if isinstance(part, nn.ModuleList):
            yield from part


def peak_memory(device: torch.device) -> int:
    """Most bytes that were in use at once: of the accelerator's allocator, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
