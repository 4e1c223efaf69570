"""How fast a step is against what the machine can do: operations counted, and a matrix product timed in this process.

The Trainer asks once a stage where somebody watches. It must never run inside a step: counting slows it down.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from cryptoai.core.clock import SECOND, Clock

__all__ = ["counted", "gemm_peak"]

_ROUNDS = 5


def counted(work: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products and attention in `work()`, two for a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def gemm_peak(device: torch.device, clock: Clock) -> float:
    """Operations a second of a square matrix product, the best of five, on the threads that training has.

    bfloat16 on CUDA, as autocast computes there, float32 on a CPU. The floor of any step of dense layers.
    """
    cuda = device.type == "cuda"
    size, dtype = (8192, torch.bfloat16) if cuda else (1024, torch.float32)
    left = torch.ones(size, size, device=device, dtype=dtype)
    best = 0.0
    for _ in range(_ROUNDS + 1):
        began = clock.now_ns()
        torch.mm(left, left)
        if cuda:
            torch.cuda.synchronize(device)
        best = max(best, 2.0 * size**3 * SECOND / max(clock.now_ns() - began, 1))
    return best
