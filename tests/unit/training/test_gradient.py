"""A step's gradient is the same however few shards fit into memory; the weights' average is what it says."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from cryptoai.training.average import WeightAverage
from cryptoai.training.gradient import GradientConfig, GradientStage, OutOfMemoryError
from cryptoai.training.memory import MemoryPlan, recomputed
from cryptoai.training.parallel import Ranks
from cryptoai.training.seeds import initialised


class Deep(nn.Module):
    """Two blocks in a list, as a transformer has."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@dataclass
class Tight:
    """Draws noise, as the real objectives do; raises out of memory while more than `room` graphs are alive at once."""

    room: float = 99
    steps: int = 8
    name: str = "tight"
    sequences: int = 16
    length: int = 1
    shards: int = 8
    score_every: int = 4
    alive: int = 0
    most: int = 0
    module: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        with initialised(0, "tight"):
            self.module = Deep()

    def batch(self, ranks: Ranks, step: int, shard: int) -> Tensor:  # noqa: ARG002
        return torch.full((2, 4), 0.1 * step - 0.2 * shard)

    def loss(self, batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        kept = not _is_recomputed(self.module)
        self.alive += 1
        self.most = max(self.most, self.alive)
        if self.alive > self.room - (0.5 if kept else 0):
            self.alive = 0
            raise torch.OutOfMemoryError("no room")
        out = self.module(batch + torch.rand(batch.shape, generator=draws))
        out.register_hook(lambda _: self._freed())
        return out.square().mean(), {}

    def score(self) -> float | None:
        return None

    def _freed(self) -> None:
        self.alive -= 1


def _is_recomputed(module: nn.Module) -> bool:
    return "forward" in module.blocks[0].__dict__  # type: ignore[index,union-attr]


def trained(objective: Tight) -> GradientStage:
    made = GradientStage(objective, GradientConfig(learning_rate=0.01), Ranks(), seed=1)
    for step in range(objective.steps):
        made.update(step, step / objective.steps)
    return made


@pytest.mark.parametrize(("room", "together", "recompute"), [(2.5, 2, False), (1.5, 1, False), (1, 1, True)])
def test_what_does_not_fit_is_cut_smaller_and_learns_the_same(room: float, together: int, recompute: bool) -> None:
    """Out of memory halves the shards held at once, then recomputes activations; parameters agree to 1e-6."""
    wide, tight = trained(Tight()), trained(Tight(room=room))
    assert (wide.memory.together, tight.memory.together, tight.memory.recompute) == (4, together, recompute)
    pairs = zip(wide.tensors().items(), tight.tensors().items(), strict=True)
    assert max(float((a[1].double() - b[1].double()).abs().max()) for a, b in pairs if a[0].startswith("model.")) < 1e-6


def test_another_batch_is_another_gradient() -> None:
    """The comparison above can fail: with half of the shards the parameters differ by far more than 1e-6."""
    whole, half = trained(Tight()), trained(Tight(shards=4))
    first, second = whole.tensors()["model.blocks.0.0.weight"], half.tensors()["model.blocks.0.0.weight"]
    assert float((first - second).abs().max()) > 1e-4


def test_what_can_never_fit_says_what_to_lower() -> None:
    """One shard with recomputed activations is the least; the sentence names the settings."""
    with pytest.raises(OutOfMemoryError, match=r"one part in 8 .* lower training\.batch_size"):
        trained(Tight(room=0))


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    """A shape that does not fit is a mistake, not a reason to try again."""

    class Wrong(Tight):
        def batch(self, ranks: Ranks, step: int, shard: int) -> Tensor:  # noqa: ARG002
            return torch.zeros(2, 5)

    with pytest.raises(RuntimeError, match="shapes"):
        trained(Wrong())


def test_recomputed_blocks_give_the_same_gradient_and_keep_less() -> None:
    """Gradient checkpointing: equal gradients, fewer saved tensors, and gone when switched off."""
    with initialised(0, "x"):
        model = Deep()
    x = torch.ones(3, 4)
    plain, kept = _gradient(model, x)
    recomputed(model, on=True)
    again, fewer = _gradient(model, x)
    recomputed(model, on=False)
    assert torch.equal(plain, again)
    assert fewer < kept
    assert not _is_recomputed(model)
    assert _gradient(model, x)[1] == kept


def _gradient(model: Deep, x: Tensor) -> tuple[Tensor, int]:
    """The gradient of the first weight, and how many elements the graph kept for it."""
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(x).sum()
        held = sum(kept)
    weight = model.blocks[0][0].weight  # type: ignore[index]
    (gradient,) = torch.autograd.grad(loss, [weight])
    return gradient, held


def test_the_plan_halves_then_recomputes_then_gives_up() -> None:
    """8, 4, 2, 1, recompute, nothing; every shard is in exactly one pass."""
    plan, seen = MemoryPlan(8), []
    while True:
        passes = plan.passes(range(3, 11))
        assert [shard for part in passes for shard in part] == list(range(3, 11))
        seen.append((plan.together, plan.recompute))
        if not plan.shrink():
            break
    assert seen == [(8, False), (4, False), (2, False), (1, False), (1, True)]


def test_the_average_is_the_moving_average_of_the_parameters() -> None:
    """By hand, with the decay that rises from 2/11 to 0.5; inside the block the module computes with it."""
    module = nn.Linear(1, 1, bias=False)
    average, expected = WeightAverage(module, 0.5), float(module.weight.detach())
    for step in range(1, 21):
        with torch.no_grad():
            module.weight.fill_(float(step))
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.in_place():
        assert float(module.weight.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(module.weight.detach()) == 20.0


def test_the_average_resumes() -> None:
    """Its tensors in another average of the same module, and both go on alike."""
    module = nn.Linear(2, 2)
    first, second = WeightAverage(module, 0.9), WeightAverage(module, 0.9)
    for value in (1.0, 2.0):
        with torch.no_grad():
            module.weight.fill_(value)
        first.update()
    second.load({name: tensor.clone() for name, tensor in first.tensors().items()})
    for one in (first, second):
        one.update()
    assert all(torch.equal(first.tensors()[name], second.tensors()[name]) for name in first.tensors())


def test_operations_are_counted_and_change_nothing() -> None:
    """Two layers of 4 x 4 on 2 rows, forward and backward of both but the first input's: 2 * 2 * 16 * 5 a shard."""
    made = GradientStage(Tight(), GradientConfig(), Ranks(), seed=1)
    before = made.tensors()["model.blocks.0.0.weight"].clone()
    assert made.operations() == 8 * 2 * 2 * 16 * 5
    assert torch.equal(made.tensors()["model.blocks.0.0.weight"], before)
