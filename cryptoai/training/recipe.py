"""The whole of training: rows of features in, a bundle out.

    scaler, units -> encoders -> world model -> trust -> policy in imagination -> tail, anomaly -> evidence -> bundle

Called by `cryptoai train`, `cryptoai demo` and scripts/run_training.py, on every rank that trains. Same data,
configuration and seed give a byte-identical bundle; only training.max_seconds breaks that. It reads nothing but what it
is handed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cryptoai.black_swan.guard import Forecasts, RiskModel
from cryptoai.core.bundle import canonical_json
from cryptoai.core.clock import Clock, SystemClock
from cryptoai.core.config import Config
from cryptoai.core.ids import content_hash
from cryptoai.data_universe.schema import SCHEMA_HASH
from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.policy import Policy
from cryptoai.training.bundle import BEST, write_bundle
from cryptoai.training.champion import Champion, Nets
from cryptoai.training.dataset import Corpus, Dataset, Part, Timing
from cryptoai.training.evidence import View, forecast_evidence, measure_trust, policy_evidence, tail_evidence
from cryptoai.training.gradient import GradientConfig, GradientStage
from cryptoai.training.meter import gemm_peak
from cryptoai.training.parallel import Ranks
from cryptoai.training.record import Progress, Recorder
from cryptoai.training.seeds import generator, initialised
from cryptoai.training.stages import EncoderObjective, PolicyStage, WorldModelObjective, shards_of
from cryptoai.training.trainer import Report, Stage, Trainer
from cryptoai.training.unconditional import fit_base
from cryptoai.world_model.model import WorldModel

__all__ = [
    "Job",
    "Origin",
    "Session",
    "built_by",
    "encoder_stage",
    "origin_fields",
    "policy_stage",
    "prepare",
    "results",
    "train_bundle",
    "world_model_stage",
]

_ENCODER = "encoder."


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a bundle comes from, as far as training cannot know it itself."""

    git_sha: str = "unknown"
    data_fingerprint: str | None = None
    """Of the events behind the rows; without one the rows themselves are hashed."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the steps of one training share."""

    config: Config
    corpus: Corpus
    ranks: Ranks
    model: WorldModel
    policy: Policy
    critic: Critic
    cost: float
    """Of one unit of exposure, in volatility units."""
    fingerprint: str
    window: tuple[int, int]
    parent: str | None

    @property
    def gradient(self) -> GradientConfig:
        return GradientConfig(learning_rate=self.config.training.learning_rate)

    @property
    def name(self) -> str:
        """Equal for a training that may resume another's checkpoints, whatever the number of processes."""
        shards = shards_of(self.config.training.batch_size, self.ranks.world)
        return content_hash(canonical_json([built_by(self.config), self.fingerprint, shards, self.parent]), 12)

    def view(self, part: Part) -> View:
        return View.of(self.model, self.corpus, part, self.config.model.context)


@dataclass(frozen=True, slots=True)
class Session:
    """How jobs are run: where their checkpoints lie, and who is told.

    metrics: folder that receives a CSV file a stage, and turns on the measuring of operations; None for neither.
    Callbacks are called on the leading rank only.
    """

    folder: Path
    ranks: Ranks
    clock: Clock = field(default_factory=SystemClock)
    on_progress: Callable[[Progress], None] | None = None
    on_report: Callable[[Report], None] | None = None
    metrics: Path | None = None

    def run(self, job: Job, label: str = "") -> None:
        """All three stages, from wherever their checkpoints are; `label` goes before their names where they show."""
        recorder = Recorder(self.metrics) if self.metrics is not None and self.ranks.leads else None
        trainer = Trainer(
            self.work(job), self.ranks, self.clock, job.config.training.max_seconds,
            on_progress=self._teller(label, recorder), origin=origin_fields(job, Origin()),
            peak=gemm_peak(self.ranks.device, self.clock) if self.metrics is not None else 0.0,
        )  # fmt: skip
        try:
            for make in (encoder_stage, world_model_stage, policy_stage):
                report = trainer.fit(make(job))
                if self.on_report is not None and self.ranks.leads:
                    self.on_report(replace(report, stage=label + report.stage))
        finally:
            if recorder is not None:
                recorder.close()

    def work(self, job: Job) -> Path:
        """The folder of a job's checkpoints, which is for nobody once its bundle is written."""
        return self.folder / f".work-{job.name}"

    def _teller(self, label: str, recorder: Recorder | None) -> Callable[[Progress], None] | None:
        if self.on_progress is None and recorder is None:
            return None

        def tell(now: Progress) -> None:
            named = replace(now, stage=label + now.stage)
            if recorder is not None:
                recorder.write(named)
            if self.on_progress is not None:
                self.on_progress(named)

        return tell


def train_bundle(
    datasets: Sequence[Dataset],
    config: Config,
    out_dir: Path,
    *,
    origin: Origin | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_report: Callable[[Report], None] | None = None,
    metrics: Path | None = None,
) -> Path:
    """Trains on `datasets` (one an instrument, the train window only) and returns the bundle's folder in `out_dir`.

    Interrupted by SIGTERM or SIGINT it raises TrainingStoppedError; the same call then goes on where it stopped.
    DataError if the data is too short or does not move. For the callbacks and `metrics` see `Session`.
    """
    ranks = Ranks.current()
    session = Session(out_dir, ranks, SystemClock(), on_progress, on_report, metrics)
    job = prepare(datasets, config, ranks)
    session.run(job)
    if ranks.leads:
        parts, evidence = results(job)
        write_bundle(out_dir, parts, origin_fields(job, origin or Origin()), evidence)
        shutil.rmtree(session.work(job), ignore_errors=True)
    ranks.wait()
    return (out_dir / BEST).resolve()


def prepare(
    datasets: Sequence[Dataset],
    config: Config,
    ranks: Ranks,
    *,
    timing: Timing | None = None,
    champion: Champion | None = None,
) -> Job:
    """Everything that is fitted in closed form, from the fit part alone: scaler, units, unconditional mixture.

    With a `champion` the weights are its own and its scaler stays, because they were learned together; the units are
    those of the new data. `timing`: of the rows; by default what the configuration says.
    """
    corpus = Corpus.of(datasets, timing or Timing.of(config), ranks.device)
    with initialised(config.training.seed, "weights"):
        nets = Nets.of(config.model)
    fit = corpus.part == Part.FIT
    known, returns = corpus.known.cpu().numpy()[fit], corpus.returns.cpu().numpy()[fit]
    if champion is None:
        nets.model.encoder.scaler.fit(corpus.values.cpu().numpy()[fit], corpus.mask.cpu().numpy()[fit])
    else:
        champion.fill(nets)
    nets.model.set_units(corpus.return_scale, fit_base(returns, known))
    nets.model.set_trust(torch.ones_like(nets.model.trust))
    return Job(
        config, corpus, ranks, nets.model.to(ranks.device), nets.policy, nets.critic,
        cost=config.training.cost_bps * 1e-4 / corpus.return_scale,
        fingerprint=content_hash("|".join(d.fingerprint() for d in datasets).encode()),
        window=(min(int(d.times[0]) for d in datasets), max(int(d.times[-1]) for d in datasets)),
        parent=None if champion is None else champion.revision,
    )  # fmt: skip


def encoder_stage(job: Job) -> Stage:
    """The first: what a state is."""
    objective = EncoderObjective(job.model.encoder, job.corpus, job.config, job.ranks)
    return GradientStage(objective, job.gradient, job.ranks, job.config.training.seed)


def world_model_stage(job: Job) -> Stage:
    """The second: what comes after it."""
    objective = WorldModelObjective(job.model, job.corpus, job.config, job.ranks)
    return GradientStage(objective, job.gradient, job.ranks, job.config.training.seed)


def policy_stage(job: Job) -> Stage:
    """The third: what to do. The world model is frozen from here on, and believed as far as validation says."""
    job.model.eval().requires_grad_(False)
    job.model.set_trust(measure_trust(job.model, job.view(Part.VALIDATE)))
    return PolicyStage(job.model, job.policy, job.critic, job.corpus, job.config, job.ranks, job.cost)


def results(job: Job) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """The tensors by part, and the evidence."""
    for module in (job.model, job.policy, job.critic):
        module.cpu()
    test = job.view(Part.TEST)
    # The fit part alone would flatter the model: there its errors are those of what it has learned by heart.
    seen = [job.view(part) for part in (Part.FIT, Part.VALIDATE)]
    surprises = np.concatenate([view.surprises(job.model) for view in seen])
    rows = job.corpus.part == Part.FIT
    values, mask = job.corpus.values.cpu().numpy()[rows], job.corpus.mask.cpu().numpy()[rows]
    risk = RiskModel.fit(
        values,
        mask,
        surprises,
        min_exceed=_least_exceedances(len(surprises)),
        forecasts=_forecasts(job, seen),
        generator=generator(torch.device("cpu"), job.config.training.seed, "anomaly"),
    )
    state = job.model.state_dict()
    parts = {
        "encoders": {name.removeprefix(_ENCODER): t for name, t in state.items() if name.startswith(_ENCODER)},
        "world_model": {name: t for name, t in state.items() if not name.startswith(_ENCODER)},
        "policy": dict(nn.ModuleDict({"policy": job.policy, "critic": job.critic}).state_dict()),
        "risk": risk.tensors(),
    }
    return parts, _evidence(job, test, risk)


def _forecasts(job: Job, views: Sequence[View]) -> Forecasts:
    """What the surprises of these views were forecast from."""
    at = np.concatenate([view.rows for view in views])
    sd = np.concatenate([view.forecast(job.model).sd[:, 0].double().numpy() for view in views])
    values, mask = (part.cpu().numpy()[at] for part in (job.corpus.values, job.corpus.mask))
    return Forecasts(values, mask, sd, job.corpus.stride)


def _evidence(job: Job, test: View, risk: RiskModel) -> dict[str, Any]:
    times = job.corpus.times[test.rows]
    return {
        "format": 1,
        "window": {
            "part": "test",
            "rows": len(test.rows),
            "times": [int(t) for t in times[[0, -1]]] if len(times) else [],
        },
        "forecast": forecast_evidence(job.model, test, job.corpus.stride),
        "tail": tail_evidence(
            risk.tail, risk.losses(test.surprises(job.model), _forecasts(job, [test])), job.corpus.stride
        ),
        "policy": policy_evidence(job.policy, test, job.corpus, job.cost),
        "volatility_bps": job.corpus.return_scale * 1e4,
        "trials": 1,
    }


def origin_fields(job: Job, origin: Origin) -> dict[str, Any]:
    """What the manifest of a bundle, or of a checkpoint, says of where it comes from."""
    built = built_by(job.config)
    scaler = {name: tensor.cpu().numpy().tobytes() for name, tensor in job.model.encoder.scaler.state_dict().items()}
    return {
        "schema_hash": SCHEMA_HASH,
        "config_hash": content_hash(canonical_json(built)),
        "config": built,
        "git_sha": origin.git_sha,
        "seed": job.config.training.seed,
        "data_fingerprint": origin.data_fingerprint or job.fingerprint,
        "data_window": job.window,
        "scaler_hash": content_hash(b"".join(scaler[name] for name in sorted(scaler))),
        "parent": job.parent,
    }


def built_by(config: Config) -> dict[str, Any]:
    """What decides the content of a bundle; where it is written does not."""
    return {
        "model": config.model.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json", exclude={"checkpoints"}),
        "decision_interval_ms": config.execution.decision_interval_ms,
        "sample_ms": config.data.sample_ms,
    }


def _least_exceedances(rows: int) -> int:
    """100 where there is enough; on a short tape a tenth of the rows, and the interval of the shape says how little."""
    return max(10, min(100, rows // 10))
