"""Many settings of one strategy, and what choosing the best of them is worth after that choice.

`cryptoai backtest --grid` runs the trials on an `executor.Executor` and keeps each result in a `Results` file at
once, so that a second start goes on where the first one stopped. `select` counts every trial that was made: it must
never judge the best one as if it had been the only one.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.costs import attribute, trading
from cryptoai.backtesting.executor import Executor, Job, Task
from cryptoai.backtesting.metrics import drawdown, period_returns, sharpe
from cryptoai.backtesting.run import BacktestResult
from cryptoai.backtesting.significance import Overfitting, deflated_sharpe, overfitting
from cryptoai.core.bundle import canonical_json
from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash

__all__ = ["SLICES", "Results", "Selection", "figures", "run_trials", "select", "slices", "trials"]

Floats = npt.NDArray[np.float64]

SLICES = 240
"""Equal parts of the window, at whose ends the equity of every trial is kept; trials are compared on them."""
_BLOCKS = 10


def trials(axes: Mapping[str, Sequence[Any]], identity: Mapping[str, Any]) -> tuple[Task, ...]:
    """Every combination of the values in `axes` (dotted keys); `identity` is what else the result depends on.

    The key of a trial is a hash of both, so results of other data, models or settings are never taken for these.
    """
    names = sorted(axes)
    combined = [dict(zip(names, values, strict=True)) for values in itertools.product(*(axes[n] for n in names))]
    return tuple(
        Task(content_hash(canonical_json({"of": identity, "settings": settings}), 24), settings)
        for settings in combined
    )


class Results:
    """A JSON Lines file of results, each durable before the next is waited for; a torn last line is cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            self._read()

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row, which has a "key"."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(canonical_json(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows[row["key"]] = row

    def _read(self) -> None:
        """DataError if a line before the last is not what was written."""
        text = self._path.read_bytes()
        whole = text.rfind(b"\n") + 1
        for number, line in enumerate(text[:whole].splitlines(), 1):
            try:
                row = json.loads(line)
                self.rows[row["key"]] = row
            except (ValueError, TypeError, KeyError):
                raise DataError(f"{self._path} line {number} is not a result; move the file away") from None
        if whole < len(text):
            with self._path.open("r+b") as file:
                file.truncate(whole)


def run_trials(executor: Executor, job: Job, tasks: Sequence[Task], results: Results) -> Iterator[dict[str, Any]]:
    """Runs what `results` does not hold yet (failures are tried again) and yields each new row once it is stored."""
    left = [task for task in tasks if results.rows.get(task.key, {"error": "new"})["error"]]
    for outcome in executor.run(job, left):
        row = {"key": outcome.task.key, "settings": dict(outcome.task.body), "error": outcome.error}
        results.append(row | (outcome.result or {}))
        yield results.rows[outcome.task.key]


def slices(result: BacktestResult, count: int = SLICES) -> Floats:
    """Equity float64[count + 1] at the ends of `count` equal parts of the window, whatever the decision interval."""
    ledger, window = result.ledger, result.replay.window
    wanted = np.linspace(window.start, window.stop, count + 1).astype(np.int64)
    places = np.searchsorted(ledger.times, wanted, side="right") - 1
    return ledger.equity[np.maximum(places, 0)]


def figures(result: BacktestResult) -> dict[str, Any]:
    """What a trial leaves behind: its main figures and its equity in slices, as plain data.

    execution: the fills' distance from the mids of their decisions (spread, slippage and impact), settlement currency.
    """
    ledger, replay = result.ledger, result.replay
    instruments = [feed.instrument for feed in replay.feeds]
    costs = attribute(ledger, instruments)
    done = trading(ledger, replay.config.risk.max_position_pct, instruments)
    return {
        "net_return": float(ledger.equity[-1] / ledger.equity[0] - 1.0),
        "sharpe_period": sharpe(period_returns(ledger.equity), 1.0),
        "max_drawdown": drawdown(ledger.times, ledger.equity).depth,
        "fills": len(ledger.fills),
        "turnover": done.turnover,
        "fees": float(costs.fees),
        "funding": float(costs.funding),
        "execution": float(costs.slippage),
        "limits_that_bound": ledger.bounds,
        "equity": slices(result).tolist(),
    }


@dataclass(frozen=True, slots=True)
class Selection:
    """The trials of a grid and what the best one is worth: chosen by the Sharpe ratio over slices of the window.

    `trials` counts those made here and `elsewhere`; `variance` is that of their ratios. overfitting is None for fewer
    than two trials that ended or too short a window.
    """

    rows: tuple[dict[str, Any], ...]
    best: dict[str, Any]
    trials: int
    variance: float
    deflated_sharpe: float | None
    overfitting: Overfitting | None
    failed: int


def select(rows: Sequence[dict[str, Any]], *, elsewhere: int = 0) -> Selection:
    """Judges the best of the trials by all of them; DataError if none ended."""
    ended = [row for row in rows if not row["error"]]
    if not ended:
        reasons = "; ".join(sorted({row["error"] for row in rows})) or "there is none"
        raise DataError(f"no trial of the grid ended: {reasons}")
    returns = np.stack([period_returns(np.array(row["equity"])) for row in ended], axis=1)
    ratios = np.array([sharpe(column, 1.0) or 0.0 for column in returns.T])
    order = np.argsort(-ratios, kind="stable")
    variance = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 1.0 / (len(returns) - 1)
    count = len(rows) + elsewhere
    best = int(order[0])
    return Selection(
        rows=tuple(ended[place] | {"sharpe_slice": float(ratios[place])} for place in order),
        best=ended[best],
        trials=count,
        variance=variance,
        deflated_sharpe=deflated_sharpe(returns[:, best], count, variance),
        overfitting=overfitting(returns, _BLOCKS) if len(ended) > 1 else None,
        failed=len(rows) - len(ended),
    )
