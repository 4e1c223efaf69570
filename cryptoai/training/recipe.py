"""The whole of training: rows of features in, a bundle out.

    scaler, units -> encoders -> world model -> trust -> policy in imagination -> tail, anomaly -> evidence -> bundle

Called by `cryptoai train`, `cryptoai demo` and scripts/run_training.py, on every rank that trains. Same data,
configuration and seed give a byte-identical bundle; only training.max_seconds breaks that. It reads nothing but what it
is handed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from cryptoai.black_swan.guard import RiskModel
from cryptoai.core.bundle import canonical_json
from cryptoai.core.clock import Clock, SystemClock
from cryptoai.core.config import Config
from cryptoai.core.ids import content_hash
from cryptoai.data_universe.schema import SCHEMA_HASH
from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.policy import Policy
from cryptoai.training.bundle import BEST, write_bundle
from cryptoai.training.dataset import Corpus, Dataset, Part, Timing
from cryptoai.training.evidence import View, forecast_evidence, measure_trust, policy_evidence, tail_evidence
from cryptoai.training.gradient import GradientConfig, GradientStage
from cryptoai.training.parallel import Ranks
from cryptoai.training.seeds import initialised
from cryptoai.training.stages import EncoderObjective, PolicyStage, WorldModelObjective
from cryptoai.training.trainer import Progress, Report, Stage, Trainer
from cryptoai.training.unconditional import fit_base
from cryptoai.world_model.model import WorldModel

__all__ = ["Origin", "train_bundle"]

_ENCODER = "encoder."


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a bundle comes from, as far as training cannot know it itself."""

    git_sha: str = "unknown"
    data_fingerprint: str | None = None
    """Of the events behind the rows; without one the rows themselves are hashed."""
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """What the steps of one training share."""

    config: Config
    corpus: Corpus
    ranks: Ranks
    model: WorldModel
    policy: Policy
    critic: Critic
    cost: float
    """Of one unit of exposure, in volatility units."""

    @property
    def gradient(self) -> GradientConfig:
        return GradientConfig(learning_rate=self.config.training.learning_rate)

    def view(self, part: Part) -> View:
        return View.of(self.model, self.corpus, part, self.config.model.context)


def train_bundle(
    datasets: Sequence[Dataset],
    config: Config,
    out_dir: Path,
    *,
    origin: Origin | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_report: Callable[[Report], None] | None = None,
    clock: Clock | None = None,
) -> Path:
    """Trains on `datasets` (one an instrument, the train window only) and returns the bundle's folder in `out_dir`.

    Interrupted by SIGTERM or SIGINT it raises TrainingStoppedError; the same call then goes on where it stopped.
    DataError if the data is too short or does not move. Callbacks are called on the leading rank only.
    """
    origin, ranks = origin or Origin(), Ranks.current()
    fingerprint = content_hash("|".join(d.fingerprint() for d in datasets).encode())
    work = out_dir / f".work-{_job_name(config, fingerprint, ranks)}"
    trainer = Trainer(work, ranks, clock or SystemClock(), config.training.max_seconds, on_progress=on_progress)
    job = _prepare(datasets, config, ranks)
    for make in (_encoder_stage, _world_model_stage, _policy_stage):
        report = trainer.fit(make(job))
        if on_report is not None and ranks.leads:
            on_report(report)
    if ranks.leads:
        parts, evidence = _results(job)
        origin_fields = _origin_fields(job, datasets, origin, fingerprint)
        write_bundle(out_dir, parts, origin_fields, evidence)
        shutil.rmtree(work, ignore_errors=True)
    ranks.wait()
    return (out_dir / BEST).resolve()


def _prepare(datasets: Sequence[Dataset], config: Config, ranks: Ranks) -> _Job:
    """Everything that is fitted in closed form, from the fit part alone: scaler, units, unconditional mixture."""
    corpus = Corpus.of(datasets, Timing.of(config), ranks.device)
    with initialised(config.training.seed, "weights"):
        model = WorldModel(config.model)
        policy = Policy(model.feature_dim, config.model.hidden_dim)
        critic = Critic(model.feature_dim, config.model.hidden_dim)
    fit = corpus.part == Part.FIT
    known, returns = corpus.known.cpu().numpy()[fit], corpus.returns.cpu().numpy()[fit]
    model.encoder.scaler.fit(corpus.values.cpu().numpy()[fit], corpus.mask.cpu().numpy()[fit])
    model.set_units(corpus.return_scale, fit_base(returns, known))
    cost = config.training.cost_bps * 1e-4 / corpus.return_scale
    return _Job(config, corpus, ranks, model.to(ranks.device), policy, critic, cost)


def _encoder_stage(job: _Job) -> Stage:
    objective = EncoderObjective(job.model.encoder, job.corpus, job.config, job.ranks)
    return GradientStage(objective, job.gradient, job.ranks, job.config.training.seed)


def _world_model_stage(job: _Job) -> Stage:
    objective = WorldModelObjective(job.model, job.corpus, job.config, job.ranks)
    return GradientStage(objective, job.gradient, job.ranks, job.config.training.seed)


def _policy_stage(job: _Job) -> Stage:
    """The world model is finished: from here on it is frozen, and believed as far as validation says."""
    job.model.eval().requires_grad_(False)
    job.model.set_trust(measure_trust(job.model, job.view(Part.VALIDATE)))
    return PolicyStage(job.model, job.policy, job.critic, job.corpus, job.config, job.ranks, job.cost)


def _results(job: _Job) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors by part, and the evidence."""
    for module in (job.model, job.policy, job.critic):
        module.cpu()
    test = job.view(Part.TEST)
    # The fit part alone would flatter the model: there its errors are those of what it has learned by heart.
    surprises = np.concatenate([job.view(part).surprises(job.model) for part in (Part.FIT, Part.VALIDATE)])
    rows = job.corpus.part == Part.FIT
    values, mask = job.corpus.values.cpu().numpy()[rows], job.corpus.mask.cpu().numpy()[rows]
    risk = RiskModel.fit(values, mask, surprises, min_exceed=_least_exceedances(len(surprises)))
    state = job.model.state_dict()
    parts = {
        "encoders": {name.removeprefix(_ENCODER): t for name, t in state.items() if name.startswith(_ENCODER)},
        "world_model": {name: t for name, t in state.items() if not name.startswith(_ENCODER)},
        "policy": dict(nn.ModuleDict({"policy": job.policy, "critic": job.critic}).state_dict()),
        "risk": risk.tensors(),
    }
    return parts, _evidence(job, test, risk)


def _evidence(job: _Job, test: View, risk: RiskModel) -> dict[str, Any]:
    times = job.corpus.times[test.rows]
    return {
        "format": 1,
        "window": {
            "part": "test",
            "rows": len(test.rows),
            "times": [int(t) for t in times[[0, -1]]] if len(times) else [],
        },
        "forecast": forecast_evidence(job.model, test, job.corpus.stride),
        "tail": tail_evidence(risk.tail, test.surprises(job.model)),
        "policy": policy_evidence(job.policy, test, job.corpus, job.cost),
        "volatility_bps": job.corpus.return_scale * 1e4,
        "trials": 1,
    }


def _origin_fields(job: _Job, datasets: Sequence[Dataset], origin: Origin, fingerprint: str) -> dict[str, Any]:
    built = _built_by(job.config)
    scaler = {name: tensor.cpu().numpy().tobytes() for name, tensor in job.model.encoder.scaler.state_dict().items()}
    return {
        "schema_hash": SCHEMA_HASH,
        "config_hash": content_hash(canonical_json(built)),
        "config": built,
        "git_sha": origin.git_sha,
        "seed": job.config.training.seed,
        "data_fingerprint": origin.data_fingerprint or fingerprint,
        "data_window": (min(int(d.times[0]) for d in datasets), max(int(d.times[-1]) for d in datasets)),
        "scaler_hash": content_hash(b"".join(scaler[name] for name in sorted(scaler))),
        "parent": origin.parent,
    }


def _built_by(config: Config) -> dict[str, Any]:
    """What decides the content of a bundle; where it is written does not."""
    return {
        "model": config.model.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json", exclude={"checkpoints"}),
        "decision_interval_ms": config.execution.decision_interval_ms,
        "sample_ms": config.data.sample_ms,
    }


def _job_name(config: Config, fingerprint: str, ranks: Ranks) -> str:
    """Equal for a training that may resume another's checkpoints."""
    what = [_built_by(config), fingerprint, ranks.world]
    return content_hash(canonical_json(what), 12)


def _least_exceedances(rows: int) -> int:
    """100 where there is enough; on a short tape a tenth of the rows, and the interval of the shape says how little."""
    return max(10, min(100, rows // 10))
