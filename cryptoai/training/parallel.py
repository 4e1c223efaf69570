"""The processes that train together: who am I, and how do we agree.

`scripts/run_training.py` joins the group that torchrun announced; everybody else asks `Ranks.current()`, which is a
group of one where nothing was joined. It must never read the environment: the script does, and passes it in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from cryptoai.core.errors import InvariantError

__all__ = ["Ranks", "joined"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """rank 0 leads: it alone writes files and reports."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def current(cls) -> Ranks:
        """The joined group, or a group of one; on CUDA each process has made its device current before."""
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        if not dist.is_initialized():
            return cls(device=device)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, shards: int) -> range:
        """Which of `shards` equal parts of the work are this rank's: neighbours, in rank order."""
        each, rest = divmod(shards, self.world)
        if rest:
            raise InvariantError(f"{shards} shards cannot be dealt out to {self.world} processes in equal numbers")
        return range(self.rank * each, (self.rank + 1) * each)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The means over ranks of numbers that all of them have."""
        if self.world == 1:
            return values
        shared = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return dict(zip(values, (shared / self.world).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """True everywhere if true anywhere."""
        if self.world == 1:
            return flag
        shared = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared.item())

    def lead(self, value: float) -> float:
        """Rank 0's number, everywhere: clocks differ, decisions must not."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared.item())

    def gather(self, tensor: Tensor, dim: int) -> Tensor:
        """The tensors of all ranks (of equal shape) joined along `dim`, in rank order."""
        if self.world == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts, dim)

    def wait(self) -> None:
        """Returns when every rank is here."""
        if self.world > 1:
            dist.barrier()

    def place(self, value: T) -> T:
        """A frozen dataclass of tensors, moved to this rank's device."""
        if not is_dataclass(value) or isinstance(value, type):
            return value
        moved: dict[str, Any] = {f.name: getattr(value, f.name).to(self.device) for f in fields(value)}
        return type(value)(**moved)


@contextmanager
def joined(rank: int, world: int, local_rank: int, meeting: str = "env://") -> Iterator[Ranks]:
    """Joins the group for the block: NCCL on CUDA, gloo on CPUs.

    `meeting`: where its processes find each other; by default the MASTER_ADDR and MASTER_PORT that torchrun announces.
    """
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    dist.init_process_group("nccl" if cuda else "gloo", init_method=meeting, rank=rank, world_size=world)
    try:
        yield Ranks.current()
    finally:
        dist.destroy_process_group()
