"""Learning on: a bundle trained further on new data, and put in its place only where that is shown to be no worse.

    champion --trained on window k--> challenger k; both judged on the rows after window k, which neither has seen
    all windows together: differences with block-bootstrap intervals -> verdict
    champion --trained on everything--> the new bundle, which carries all of this as evidence

Called by `cryptoai train --from` and scripts/run_training.py, on every rank. It must never judge on rows that the
champion or a challenger was trained on, and never promote without evidence.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryptoai.backtesting.folds import Fold, walk_forward
from cryptoai.backtesting.windows import Window
from cryptoai.core.bundle import Manifest
from cryptoai.core.clock import MS, SECOND
from cryptoai.core.config import Config
from cryptoai.core.errors import DataError
from cryptoai.training.bundle import BEST, write_bundle
from cryptoai.training.champion import Champion, Nets
from cryptoai.training.dataset import Corpus, Dataset, Timing
from cryptoai.training.judging import Judged, Rule, Series, judge, series
from cryptoai.training.recipe import Job, Origin, Session, origin_fields, prepare, results
from cryptoai.training.seeds import derive
from cryptoai.world_model.model import HORIZONS

__all__ = ["Outcome", "challenge", "folds_of", "trials_so_far"]

WINDOWS = 3
"""Walk-forward windows that champion and challenger are judged on."""

FIRST_SHARE = 0.4
"""Of the new rows: what the first challenger learns from."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The new bundle's folder, what it was found to be, and whether best_model.pt names it now."""

    folder: Path
    judged: Judged
    promoted: bool


def challenge(
    datasets: Sequence[Dataset],
    config: Config,
    champion: Champion,
    session: Session,
    *,
    origin: Origin | None = None,
    rule: Rule | None = None,
) -> Outcome:
    """Trains the champion further on `datasets` and judges it; the bundle goes beside the others of `session.folder`.

    Resumes like any training. DataError if the data has no rows after those that the champion was trained on.
    """
    datasets = [_unseen(data, champion, config) for data in datasets]
    folds = folds_of(datasets, config)
    rounds = [_window(datasets, fold, config, champion, session, number) for number, fold in enumerate(folds, 1)]
    last = prepare(datasets, config, session.ranks, champion=champion)
    session.run(last, "final ")
    trials = trials_so_far(session.folder, champion) + 1
    draws = np.random.default_rng(derive(config.training.seed, "challenge"))
    judged = judge([one for _, one, _ in rounds], [other for _, _, other in rounds], trials, rule or Rule(), draws)
    folder = _written(last, champion, session, origin or Origin(), (judged, folds))
    for job in [last, *(job for job, _, _ in rounds)]:
        if session.ranks.leads:
            shutil.rmtree(session.work(job), ignore_errors=True)
    session.ranks.wait()
    return Outcome(folder, judged, (session.folder / BEST).resolve() == folder.resolve())


def folds_of(datasets: Sequence[Dataset], config: Config) -> tuple[Fold, ...]:
    """Growing training windows over the time that all datasets share, each with its test behind the embargo."""
    first = max(int(data.times[0]) for data in datasets)
    last = min(int(data.times[-1]) for data in datasets)
    if first >= last:
        raise DataError("the tapes of these assets do not overlap in time; train on them one by one")
    return walk_forward(
        Window(first, last), WINDOWS, train_share=FIRST_SHARE,
        label_ns=max(HORIZONS) * config.execution.decision_interval_ms * MS,
        embargo_ns=int(config.data.embargo_s * SECOND),
    )  # fmt: skip


def trials_so_far(root: Path, champion: Champion) -> int:
    """The champion's trials, and one for every other bundle in `root` that was trained from it."""
    siblings = 0
    for path in sorted(root.glob("*/manifest.json")):
        if path.parent.is_symlink():
            continue
        try:
            siblings += Manifest.model_validate_json(path.read_bytes()).parent == champion.revision
        except ValueError:
            continue
    return champion.trials + siblings


def _unseen(data: Dataset, champion: Champion, config: Config) -> Dataset:
    """The rows that begin an embargo after the champion's last one."""
    seen = champion.manifest.data_window[1]
    found = data.within(Window(min(seen + int(config.data.embargo_s * SECOND) + 1, 2**62), 2**62))
    if not len(found):
        raise DataError(
            f"the data ends before the last row that bundle {champion.folder.name} was trained on: nothing is left to "
            "judge it by; import newer data or raise data.train_share"
        )
    return found


def _window(
    datasets: Sequence[Dataset], fold: Fold, config: Config, champion: Champion, session: Session, number: int
) -> tuple[Job, Series, Series]:
    """The challenger's job, then champion and challenger on the test of one fold."""
    seen = [data.within(fold.train[0]) for data in datasets]
    job = prepare(seen, config, session.ranks, champion=champion)
    session.run(job, f"window {number} ")
    for module in (job.model, job.policy):
        module.cpu()
    later = [data.within(fold.test[0]) for data in datasets]
    both = champion.nets(), Nets(job.model, job.policy, job.critic)
    first, second = (_joined([_judged(nets, data, config) for data in later]) for nets in both)
    return job, first, second


def _judged(nets: Nets, data: Dataset, config: Config) -> Series:
    scale = float(nets.model.return_scale)
    corpus = Corpus.of([data], Timing.of(config), nets.model.return_scale.device, scale=scale)
    return series(nets, corpus, config.model.context, config.training.cost_bps)


def _joined(parts: Sequence[Series]) -> Series:
    """Instruments side by side: what was decided at the same time is averaged."""
    length = min(len(part.net_bps) for part in parts)
    net = np.mean([part.net_bps[:length] for part in parts], axis=0)
    score = np.mean([part.log_score[:length] for part in parts], axis=0)
    return Series(net, score, float(np.mean([part.covered for part in parts])))


def _written(
    job: Job, champion: Champion, session: Session, origin: Origin, found: tuple[Judged, Sequence[Fold]]
) -> Path:
    """Writes the bundle on the leading rank; all ranks get its folder."""
    judged, folds = found
    if not session.ranks.leads:
        session.ranks.wait()
        return session.folder
    parts, evidence = results(job)
    evidence |= {"trials": judged.trials, "challenge": judged.evidence() | _context(champion, folds, session.folder)}
    promote = judged.promote and _holds_title(session.folder, champion)
    folder = write_bundle(session.folder, parts, origin_fields(job, origin), evidence, promote=promote)
    session.ranks.wait()
    return folder


def _context(champion: Champion, folds: Sequence[Fold], root: Path) -> dict[str, Any]:
    windows = [{"train": [f.train[0].start, f.train[0].stop], "test": [f.test[0].start, f.test[0].stop]} for f in folds]
    return {
        "champion": champion.revision,
        "champion_holds_title": _holds_title(root, champion),
        "windows": windows,
        "label_ns": folds[0].label_ns,
        "embargo_ns": folds[0].embargo_ns,
    }


def _holds_title(root: Path, champion: Champion) -> bool:
    """Whether best_model.pt names the bundle that was compared with, or nothing yet."""
    link = root / BEST
    return not link.exists() or link.resolve().name == champion.revision[: len(link.resolve().name)]
