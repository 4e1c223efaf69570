"""A world model trained on a synthetic market, and the scores it is judged by.

Gates and slow tests use it. Training is the product's own: the same corpus, objective, optimiser and trust as a
bundle's, at a size that takes a minute. It must never score a row that was fitted or chosen on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryptoai.core.config import Config, build
from cryptoai.training.dataset import Corpus, Dataset, Part, Timing
from cryptoai.training.evidence import View, measure_trust
from cryptoai.training.gradient import GradientConfig, GradientStage
from cryptoai.training.parallel import Ranks
from cryptoai.training.seeds import initialised
from cryptoai.training.stages import WorldModelObjective
from cryptoai.training.unconditional import fit_base
from cryptoai.world_model import WorldModel

__all__ = ["Recipe", "Trained", "fair_crps", "gap_closed", "mean_interval", "memories", "permuted", "train_on"]

Floats = npt.NDArray[np.float64]
SECOND_MS = 1000


class Rows(Protocol):
    """The part of a synthetic market that a training sees, as in a `Dataset`."""

    @property
    def values(self) -> npt.NDArray[np.float32]: ...
    @property
    def mask(self) -> npt.NDArray[np.bool_]: ...
    @property
    def times(self) -> npt.NDArray[np.int64]: ...
    @property
    def mid(self) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes of one training; a step works on `batch` sequences of `sequence` rows."""

    steps: int
    hidden: int = 64
    latent: int = 32
    layers: int = 2
    sequence: int = 64
    batch: int = 32
    rate: float = 2e-3
    seed: int = 7

    @property
    def config(self) -> Config:
        return build(
            {
                "data": {"sample_ms": SECOND_MS},
                "execution": {"decision_interval_ms": SECOND_MS},
                "model": {
                    "hidden_dim": self.hidden, "latent_dim": self.latent, "layers": self.layers, "heads": 4,
                    "context": self.sequence,
                },
                "training": {"batch_size": self.batch, "sequence": self.sequence, "seed": self.seed},
            }
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished model and the corpus it was fitted to; `unit`: log return of one volatility unit."""

    model: WorldModel
    corpus: Corpus
    recipe: Recipe

    @property
    def unit(self) -> float:
        return self.corpus.return_scale


def train_on(market: Rows, recipe: Recipe, *, labels: Callable[[Corpus], Corpus] = lambda corpus: corpus) -> Trained:
    """Fits scaler, unconditional mixture, world model and trust to `market`, a row a step; `labels` may change them."""
    torch.set_num_threads(1)
    config, ranks = recipe.config, Ranks.current()
    data = Dataset(market.values, market.mask, market.times, market.mid)
    corpus = labels(Corpus.of([data], Timing.of(config), ranks.device))
    with initialised(recipe.seed, "weights"):
        model = WorldModel(config.model)
    fit = corpus.part == Part.FIT
    model.encoder.scaler.fit(market.values[fit], market.mask[fit])
    model.set_units(corpus.return_scale, fit_base(corpus.returns.numpy()[fit], corpus.known.numpy()[fit]))
    objective = WorldModelObjective(model, corpus, config, ranks)
    objective.steps, objective.score_every = recipe.steps, max(1, recipe.steps // 5)
    stage = GradientStage(objective, GradientConfig(learning_rate=recipe.rate), ranks, recipe.seed)
    for step in range(recipe.steps):
        stage.update(step, step / recipe.steps)
    stage.finish()
    model.eval().requires_grad_(False)
    model.set_trust(measure_trust(model, _validation(model, corpus, recipe)))
    return Trained(model, corpus, recipe)


def permuted(corpus: Corpus, seed: int = 0) -> Corpus:
    """`corpus` with the labels of each part dealt out at random: nothing is left to learn."""
    rng, returns = np.random.default_rng(seed), corpus.returns.clone()
    whole = corpus.known.numpy().all(1)
    for part in Part:
        rows = np.flatnonzero(whole & (corpus.part == part))
        returns[rows] = corpus.returns[rng.permutation(rows)]
    return replace(corpus, returns=returns, known=torch.from_numpy(whole)[:, None] & corpus.known)


@torch.no_grad()
def memories(
    model: WorldModel, values: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], length: int
) -> tuple[npt.NDArray[np.int64], Tensor]:
    """Rows (n,) and the memory h (n, hidden) at each, from windows of `length` rows of which the later half counts."""
    half = length // 2
    starts = np.arange(0, len(values) - length + 1, half)
    rows, found = [], []
    for chunk in np.array_split(starts, -(-len(starts) // 64)):
        window = chunk[:, None] + np.arange(length)
        h = model.observe(torch.from_numpy(values[window]), torch.from_numpy(mask[window])).h
        rows.append(window[:, half:].ravel())
        found.append(h[:, half:].flatten(0, 1))
    return np.concatenate(rows), torch.cat(found)


def _validation(model: WorldModel, corpus: Corpus, recipe: Recipe) -> View:
    at = np.flatnonzero(corpus.part == Part.VALIDATE)
    rows, h = memories(model, corpus.values[at].numpy(), corpus.mask[at].numpy(), recipe.sequence)
    return View(at[rows], h, corpus.returns[at[rows]], corpus.known[at[rows]])


def gap_closed(ours: float, baseline: float, oracle: float) -> float:
    """Share of what can be gained over the baseline that was gained; losses, so less is better."""
    return (baseline - ours) / (baseline - oracle)


def fair_crps(samples: Floats, observed: Floats) -> Floats:
    """Continuous ranked probability score of ensembles [n, N] at [n]: E|X - y| - E|X - X'| / 2, unbiased in N.

    Ferro 2014; the second term from order statistics.
    """
    size = samples.shape[1]
    ordered = np.sort(samples, axis=1)
    weights = 2.0 * np.arange(1, size + 1) - size - 1.0
    within = (ordered * weights).sum(1) / (size * (size - 1))
    return np.asarray(np.abs(samples - observed[:, None]).mean(1) - within)


def mean_interval(x: Floats, *, block: int, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean of a dependent series, stationary bootstrap (Politis and Romano 1994)."""
    from arch.bootstrap import StationaryBootstrap

    draws = StationaryBootstrap(block, x, seed=np.random.default_rng(seed))
    low, high = draws.conf_int(lambda sample: sample.mean(), reps=400, method="percentile", size=level)[:, 0]
    return float(low), float(high)
