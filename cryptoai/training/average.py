"""The average of the parameters over the last steps, which is steadier than the last ones: what the bundle gets.

Held by every stage, updated once a step after the optimiser. It must never enter a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Exponential moving average of a module's trained parameters (Polyak and Juditsky 1992; Kingma and Ba 2015, 7.2).

    After n steps the decay is min(decay, (1 + n) / (10 + n)): it spans a tenth of a short training, so that the first,
    random weights are forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay, self._steps = decay, 0
        self._own = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._mean = {name: p.detach().clone() for name, p in self._own.items()}

    @torch.no_grad()
    def update(self) -> None:
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(list(self._mean.values()), list(self._own.values()), 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module computes with the average inside the block, and with its own parameters again after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def settle(self) -> None:
        """The average becomes the parameters."""
        self._swap()

    def tensors(self) -> dict[str, Tensor]:
        return self._mean | {"": torch.tensor(self._steps)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """What `tensors` gave."""
        self._steps = int(tensors[""])
        for name, mean in self._mean.items():
            mean.copy_(tensors[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._own.items():
            kept = parameter.detach().clone()
            parameter.copy_(self._mean[name])
            self._mean[name].copy_(kept)
