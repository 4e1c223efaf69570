"""The three stages: encoders, then the world model around them, then the policy inside the world model.

Each is a plain object that the Trainer drives. A shard of a step and its draws are pure functions of (seed, stage,
step, shard), so that what is learned does not depend on how many processes share the shards.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cryptoai.core.config import Config
from cryptoai.core.errors import DataError, InvariantError
from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.imagination import imagine
from cryptoai.decision_engine.policy import Policy
from cryptoai.decision_engine.ppo import PPO, PPOConfig
from cryptoai.decision_engine.rollout import Rollout
from cryptoai.encoders.groups import STATE_DIM
from cryptoai.encoders.state import StateEncoder
from cryptoai.training.average import WeightAverage
from cryptoai.training.dataset import Corpus, Part, shuffled
from cryptoai.training.gradient import GradientConfig, below, load_optimizer, optimizer_tensors
from cryptoai.training.guard import Guard
from cryptoai.training.meter import counted
from cryptoai.training.parallel import Ranks
from cryptoai.training.seeds import derive, generator, initialised
from cryptoai.world_model.distributions import log_probabilities
from cryptoai.world_model.model import Batch, WorldModel

__all__ = ["EncoderObjective", "PolicyStage", "Sampler", "WorldModelObjective", "shards_of"]

HIDDEN_SHARE = 0.25
"""Share of the present features that the encoders have to guess."""

SCORED_SEQUENCES = 128
"""Most sequences of the validation part that a score is taken on."""

LIVES = 4
"""Imagined lives for each sequence of a batch."""

SHARD_SEQUENCES = 32
"""Sequences of one shard, as long as that makes no more shards than the next number."""

MOST_SHARDS = 16
"""Of a step; a larger batch has larger shards."""


def shards_of(batch: int, world: int) -> int:
    """Parts of a batch of so many sequences: a multiple of the processes, and the same for one of them and for few."""
    return math.lcm(min(-(-batch // SHARD_SEQUENCES), MOST_SHARDS), world)


@dataclass(frozen=True, slots=True)
class Sampler:
    """Which sequences a step trains on: every sequence of the fit part once an epoch, dealt out to the ranks."""

    corpus: Corpus
    first: NDArray[np.int64]
    size: int
    shards: int
    length: int
    seed: int
    name: str

    @classmethod
    def of(cls, corpus: Corpus, config: Config, ranks: Ranks, name: str) -> Sampler:
        """DataError if the fit part is shorter than one sequence."""
        training = config.training
        first = corpus.starts(Part.FIT, training.sequence)
        shards = shards_of(training.batch_size, ranks.world)
        if len(first) < shards:
            raise DataError(
                f"the data to fit on holds {len(first)} whole sequences of {training.sequence} decisions, {shards} are "
                "the least: import a longer tape or lower training.sequence"
            )
        size = max(min(training.batch_size, len(first)) // shards, 1) * shards
        return cls(corpus, first, size, shards, training.sequence, training.seed, name)

    @property
    def epoch(self) -> int:
        """Steps of one pass."""
        return max(1, len(self.first) // self.size)

    def batch(self, ranks: Ranks, step: int, shard: int) -> Batch:
        chosen = shuffled(self.first, self.size, step, self.seed, self.name)
        return ranks.place(self.corpus.sequences(chosen[shard :: self.shards], self.length))


class _Guessers(nn.Module):
    """The encoder and two heads that are thrown away: one guesses hidden features, one the next step's."""

    def __init__(self, encoder: StateEncoder, config: Config) -> None:
        super().__init__()
        self.encoder = encoder
        self.hidden = nn.Linear(config.model.latent_dim, STATE_DIM)
        self.following = nn.Linear(config.model.hidden_dim, STATE_DIM)


class EncoderObjective:
    """Masked features and the next step's features, both in scaled units: what a state is, and where it goes."""

    name = "encoders"

    def __init__(self, encoder: StateEncoder, corpus: Corpus, config: Config, ranks: Ranks) -> None:
        self._sampler = Sampler.of(corpus, config, ranks, self.name)
        self.steps = config.training.encoder_epochs * self._sampler.epoch
        self.sequences, self.length, self.score_every = self._sampler.size, self._sampler.length, max(self.steps, 1)
        self.shards = self._sampler.shards
        with initialised(config.training.seed, self.name):
            self._parts = _Guessers(encoder, config)
        self.module: nn.Module = self._parts

    def batch(self, ranks: Ranks, step: int, shard: int) -> Batch:
        return self._sampler.batch(ranks, step, shard)

    def loss(self, batch: Batch, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        parts = self._parts
        scaled, present = parts.encoder.scale(batch.values, batch.mask)
        drawn = torch.rand(present.shape, generator=draws, device=present.device)
        hidden = present & (drawn < HIDDEN_SHARE)
        seen = present & ~hidden
        embedding = parts.encoder.embed(torch.where(seen, scaled, 0.0), seen)
        classes = log_probabilities(parts.encoder.logits(embedding)).exp().flatten(-2)
        with torch.autocast(present.device.type, enabled=False):
            terms = {
                "masked": _squared(parts.hidden(classes), scaled, hidden),
                "next": _squared(parts.following(embedding.float())[:, :-1], scaled[:, 1:], present[:, 1:]),
            }
        return terms["masked"] + terms["next"], terms

    def score(self) -> float | None:
        return None


class WorldModelObjective:
    """The world model's own loss; scored by the same loss on the validation part."""

    name = "world_model"

    def __init__(self, model: WorldModel, corpus: Corpus, config: Config, ranks: Ranks) -> None:
        self._sampler = Sampler.of(corpus, config, ranks, self.name)
        self._ranks, self._seed = ranks, config.training.seed
        self.steps = config.training.world_model_epochs * self._sampler.epoch
        self.sequences, self.length, self.score_every = self._sampler.size, self._sampler.length, self._sampler.epoch
        self.shards = self._sampler.shards
        self.module: nn.Module = model
        self._model = model
        self._ends = _spread(corpus.ends(Part.VALIDATE, self.length), SCORED_SEQUENCES)

    def batch(self, ranks: Ranks, step: int, shard: int) -> Batch:
        return self._sampler.batch(ranks, step, shard)

    def loss(self, batch: Batch, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        return self._model.loss(batch, draws)

    @torch.no_grad()
    def score(self) -> float | None:
        if not len(self._ends):
            return None
        corpus = self._sampler.corpus
        first = self._ends - (self.length - 1) * corpus.stride
        draws = generator(self._ranks.device, self._seed, self.name, "score")
        loss, _ = self._model.loss(self._ranks.place(corpus.sequences(first, self.length)), draws)
        return float(loss)


@dataclass(slots=True)
class PolicyStage:
    """PPO in imagination. Each rank imagines its share of the lives; all learn from all of them, in the same order."""

    model: WorldModel
    policy: Policy
    critic: Critic
    corpus: Corpus
    config: Config
    ranks: Ranks
    cost: float
    name: str = "policy"
    steps: int = field(init=False)
    sequences: int = field(init=False)
    length: int = field(init=False)
    shards: int = field(init=False)
    _ppo: PPO = field(init=False)
    _average: WeightAverage = field(init=False)
    _guard: Guard = field(init=False)
    _ends: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        training, settings = self.config.training, GradientConfig()
        self.steps, self.length = training.policy_epochs, training.horizon
        self.shards = shards_of(training.batch_size, self.ranks.world)
        self.sequences = max(LIVES * training.batch_size // self.shards, 1) * self.shards
        self._ends = self.corpus.ends(Part.FIT, self.config.model.context)
        if not len(self._ends):
            raise DataError("the data to fit on is shorter than model.context; import a longer tape")
        for module in (self.model, self.policy, self.critic):
            module.to(self.ranks.device)
        self._ppo = self._learner(self.policy, self.critic)
        self._average = WeightAverage(self._nets(), settings.average)
        self._guard = Guard(self.name, settings.patience)

    def update(self, step: int, progress: float) -> dict[str, float]:
        lives = [self.live(step, shard) for shard in self.ranks.share(self.shards)]
        rollout = _joined(_together(lives), self.ranks)
        self._ppo.updates = int(progress * self.steps)  # a stage cut by time anneals by time
        self._ppo.generator.manual_seed(derive(self.config.training.seed, self.name, "ppo", step))
        report = self._learn(rollout, step)
        return report | {"skipped": float(self._guard.skipped)}

    def tensors(self) -> dict[str, Tensor]:
        average = {f"average.{name}": tensor for name, tensor in self._average.tensors().items()}
        skipped = {"skipped": torch.tensor([self._guard.skipped, self._guard.in_a_row])}
        return dict(self._nets().state_dict()) | average | skipped | optimizer_tensors(self._ppo.optimizer)

    def load(self, tensors: dict[str, Tensor]) -> None:
        nets = ("policy.", "critic.")
        self._nets().load_state_dict({name: t for name, t in tensors.items() if name.startswith(nets)})
        self._average.load(below("average.", tensors))
        self._guard.skipped, self._guard.in_a_row = (int(count) for count in tensors["skipped"])
        load_optimizer(self._ppo.optimizer, tensors)

    def finish(self) -> None:
        """The average of the weights stays."""
        self._average.settle()

    def operations(self) -> float:
        """Floating-point operations of one step, over all ranks; learns nothing."""
        lives: list[Rollout] = []
        imagined = counted(lambda: lives.append(self.live(0, 0)))
        ppo = self._learner(copy.deepcopy(self.policy), copy.deepcopy(self.critic))
        return (imagined + counted(lambda: ppo.update(lives[0]))) * self.shards

    def _nets(self) -> nn.ModuleDict:
        return nn.ModuleDict({"policy": self.policy, "critic": self.critic})

    def _learner(self, policy: Policy, critic: Critic) -> PPO:
        settings = PPOConfig(updates=self.steps, learning_rate=self.config.training.learning_rate)
        return PPO(policy, critic, settings)

    def _learn(self, rollout: Rollout, step: int) -> dict[str, float]:
        try:
            report = self._ppo.update(rollout)
        except InvariantError as error:  # PPO takes no step on a loss that is no number
            self._guard.bad(step, str(error))
            return {"loss": math.nan}
        self._guard.good()
        self._average.update()
        return report | {"loss": report["loss_policy"] + self._ppo.config.value * report["loss_value"]}

    def live(self, step: int, shard: int) -> Rollout:
        """One shard of the lives of a step, from starts drawn from the fit part."""
        seed = self.config.training.seed
        draws = generator(self.ranks.device, seed, self.name, step, shard)
        rows = np.random.default_rng(derive(seed, self.name, step, shard))
        ends = rows.choice(self._ends, self.sequences // self.shards)
        values, mask = self.corpus.histories(ends, self.config.model.context)
        values, mask = values.to(self.ranks.device), mask.to(self.ranks.device)
        starts = self.model.start(values, mask, draws, room=self.length)
        return imagine(self.model, self.policy, self.critic, starts, self.length, self.cost, draws)


def _together(lives: list[Rollout]) -> Rollout:
    return Rollout(*(torch.cat([getattr(one, name) for one in lives], 1) for name in Rollout.__slots__))


def _joined(rollout: Rollout, ranks: Ranks) -> Rollout:
    """The lives of all ranks side by side: every statistic that PPO takes is then the same everywhere."""
    if ranks.world == 1:
        return rollout
    return Rollout(*(ranks.gather(getattr(rollout, name), dim=1) for name in rollout.__slots__))


def _squared(guess: Tensor, truth: Tensor, where: Tensor) -> Tensor:
    """Mean squared error over the chosen entries; 0 if there are none."""
    wrong = torch.where(where, (guess.float() - truth) ** 2, 0.0)
    return wrong.sum() / where.sum().clamp(min=1)


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` rows, evenly spaced."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
