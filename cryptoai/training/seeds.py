"""Every random draw of training is seeded from what it is for: (seed, stage, rank, step).

So a resumed run needs no saved random state and equals a straight one bit by bit. Used by every module of training; no
module may draw from torch's or numpy's global generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cryptoai.core.ids import content_hash

__all__ = ["derive", "generator", "initialised"]


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose; equal arguments give equal seeds."""
    return int(content_hash("|".join(map(str, (seed, *purpose))).encode(), 16), 16) >> 1


def generator(device: torch.device, seed: int, *purpose: str | int) -> torch.Generator:
    """A generator on `device`, seeded by `derive`."""
    return torch.Generator(device).manual_seed(derive(seed, *purpose))


@contextmanager
def initialised(seed: int, *purpose: str | int) -> Iterator[None]:
    """Modules made inside get weights that depend on the arguments only; the global state is put back after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *purpose))
        yield
