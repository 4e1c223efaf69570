"""What many runs say about one: trials of a grid, folds of a walk-forward, sizes of a capacity curve, as one object.

The CLI collects it, the report shows it, `study_summary` makes it JSON. It holds results only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cryptoai.backtesting.capacity import SizePoint
from cryptoai.backtesting.grid import Selection
from cryptoai.backtesting.walk import FoldRow, Walk

__all__ = ["Study", "study_summary"]


@dataclass(frozen=True, slots=True)
class Study:
    """Each part is there if it was asked for."""

    selection: Selection | None = None
    walk: Walk | None = None
    capacity: tuple[SizePoint, ...] = ()


def study_summary(study: Study) -> dict[str, Any]:
    """JSON-ready; the curves of single trials stay in their result files."""
    made: dict[str, Any] = {}
    if study.selection is not None:
        chosen = study.selection
        made["grid"] = {
            "trials": chosen.trials,
            "failed": chosen.failed,
            "best": chosen.best["settings"],
            "variance_of_sharpe": chosen.variance,
            "deflated_sharpe": chosen.deflated_sharpe,
            "overfitting": asdict(chosen.overfitting) if chosen.overfitting else None,
            "rows": [_without_curve(row) for row in chosen.rows],
        }
    if study.walk is not None:
        walk = asdict(study.walk) | {"folds": [_fold(fold) for fold in study.walk.folds]}
        made["walk_forward"] = walk
    if study.capacity:
        made["capacity"] = [asdict(point) for point in study.capacity]
    return made


def _fold(fold: FoldRow) -> dict[str, Any]:
    return {
        "number": fold.number,
        "revision": fold.revision,
        "train": [fold.split.train.start, fold.split.train.stop],
        "test": [fold.split.test.start, fold.split.test.stop],
        "embargo_ns": fold.split.embargo_ns,
        "in_sample": _without_curve(fold.inside),
        "out_of_sample": _without_curve(fold.outside),
    }


def _without_curve(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "equity"}
