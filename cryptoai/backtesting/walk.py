"""Walk-forward: one history in successive tests, each judged by a model that knew only what came before it.

`cryptoai backtest --walk-forward` asks for the plan, runs both windows of each fold and prints `outcome`. Purge and
embargo are asserted here once more (`windows.Split` refuses a label that reaches over): no result may rest on hope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cryptoai.backtesting.folds import walk_forward
from cryptoai.backtesting.metrics import period_returns, sharpe
from cryptoai.backtesting.windows import Split, Window
from cryptoai.core.clock import MS, SECOND
from cryptoai.core.config import Config
from cryptoai.core.errors import DataError, InvariantError

__all__ = ["FoldRow", "Walk", "in_sample", "plan", "walk_of"]


@dataclass(frozen=True, slots=True)
class FoldRow:
    """One fold: `inside` and `outside` are what `grid.figures` says of the in-sample and the out-of-sample replay."""

    number: int
    split: Split
    inside: dict[str, Any]
    outside: dict[str, Any]
    revision: str


@dataclass(frozen=True, slots=True)
class Walk:
    """All folds. net_return compounds the tests; `positive` is the share of tests that earned something.

    sharpe_inside and sharpe_outside are means over the folds of the ratio of one slice; `kept` is how much of the first
    the second is, None where there is nothing to keep.
    """

    folds: tuple[FoldRow, ...]
    retrained: bool
    net_return: float
    positive: float
    sharpe_inside: float
    sharpe_outside: float
    kept: float | None


def plan(span: Window, config: Config, folds: int) -> tuple[Split, ...]:
    """`folds` pairs of a growing training window and the test behind it, over `span`.

    The first training window is data.train_share of the span, as for `windows.split`: a bundle that was trained on that
    has seen none of the tests. The embargo is data.embargo_s, a label one decision interval.
    """
    label, embargo = config.execution.decision_interval_ms * MS, int(config.data.embargo_s * SECOND)
    cut = walk_forward(span, folds, train_share=config.data.train_share, label_ns=label, embargo_ns=embargo)
    made = tuple(Split(fold.train[0], fold.test[0], label, embargo) for fold in cut)
    for one in made:
        if one.test.stop - one.test.start <= 2 * label:
            raise DataError(f"tests of {one.test.seconds:.1f} s hold no two decisions; use fewer folds")
        if not one.last_row + one.label_ns + one.embargo_ns < one.test.start:
            raise InvariantError("a training label reaches into the test that follows")
    return made


def in_sample(split: Split) -> Window:
    """The end of the training window, as long as the test: what is compared with it."""
    length = split.test.stop - split.test.start
    return Window(max(split.train.start, split.train.stop - length), split.train.stop)


def walk_of(folds: Sequence[FoldRow], *, retrained: bool) -> Walk:
    """The folds together; needs at least one."""
    outside = [float(fold.outside["net_return"]) for fold in folds]
    inner, outer = (
        float(np.mean([sharpe(period_returns(np.array(side["equity"])), 1.0) or 0.0 for side in sides]))
        for sides in ([fold.inside for fold in folds], [fold.outside for fold in folds])
    )
    return Walk(
        folds=tuple(folds),
        retrained=retrained,
        net_return=float(np.prod([1.0 + value for value in outside]) - 1.0),
        positive=sum(value > 0 for value in outside) / len(outside),
        sharpe_inside=inner,
        sharpe_outside=outer,
        kept=outer / inner if inner > 0 else None,
    )
