"""Grids: every combination once, nothing lost, and the best judged by all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryptoai.backtesting.capacity import capacity_curve, sizes
from cryptoai.backtesting.grid import Results, run_trials, select, trials
from cryptoai.backtesting.significance import deflated_sharpe
from cryptoai.core.errors import DataError
from cryptoai.testing.jobs import Chores, SerialExecutor


def _row(key: str, returns: Any, error: str = "") -> dict[str, Any]:
    equity = 100 * np.cumprod(np.concatenate([[1.0], 1 + np.asarray(returns)]))
    return {
        "key": key,
        "settings": {"risk.max_leverage": key},
        "error": error,
        "net_return": float(equity[-1] / 100 - 1),
        "equity": equity.tolist(),
    }


def test_every_combination_has_a_key_of_its_own_that_depends_on_the_data() -> None:
    """Two times three trials; other tapes give other keys, the same ones the same."""
    axes = {"risk.max_leverage": [1, 2], "execution.order_type": ["limit", "market", "post_only"]}
    made = trials(axes, {"tapes": "a"})
    assert len({task.key for task in made}) == len(made) == 6
    assert {tuple(sorted(task.body)) for task in made} == {("execution.order_type", "risk.max_leverage")}
    assert [task.key for task in trials(axes, {"tapes": "a"})] == [task.key for task in made]
    assert not {task.key for task in trials(axes, {"tapes": "b"})} & {task.key for task in made}


def test_a_second_start_does_only_what_is_left(tmp_path: Path) -> None:
    """Interrupted after two of four; the second start does the other two, and the failed one again."""
    tasks = trials({"square": [1, 2, 3, 4]}, {})
    first = SerialExecutor(most=2)
    with pytest.raises(KeyboardInterrupt):
        list(run_trials(first, Chores(tmp_path), tasks, Results(tmp_path / "grid.jsonl")))
    second = SerialExecutor()
    results = Results(tmp_path / "grid.jsonl")
    assert len(results.rows) == 2
    list(run_trials(second, Chores(tmp_path), tasks, results))
    assert second.done == 2
    assert sorted(row["squared"] for row in Results(tmp_path / "grid.jsonl").rows.values()) == [1, 4, 9, 16]
    broken = trials({"fail": ["x"]}, {})
    for _ in range(2):
        again = SerialExecutor()
        list(run_trials(again, Chores(tmp_path), broken, Results(tmp_path / "grid.jsonl")))
        assert again.done == 1


def test_a_torn_last_line_is_cut_off_and_a_torn_middle_refused(tmp_path: Path) -> None:
    """What a crash left half written is done again; what somebody changed is not believed."""
    path = tmp_path / "grid.jsonl"
    results = Results(path)
    results.append({"key": "a", "error": ""})
    results.append({"key": "b", "error": ""})
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert list(Results(path).rows) == ["a"]
    assert path.read_bytes() == whole[: whole.index(b"\n") + 1]
    path.write_bytes(b"{]\n" + whole)
    with pytest.raises(DataError, match="line 1 is not a result"):
        Results(path)


def test_the_best_of_many_noises_is_not_believed() -> None:
    """Forty skilless trials: the best alone looks certain, deflated by all forty it does not, and PBO is high."""
    noise = np.random.default_rng(4).normal(0, 0.01, (240, 40))
    chosen = select([_row(str(n), column) for n, column in enumerate(noise.T)])
    alone = deflated_sharpe(noise[:, int(chosen.best["key"])])
    assert chosen.trials == 40
    assert alone is not None
    assert alone > 0.95
    assert chosen.deflated_sharpe is not None
    assert chosen.deflated_sharpe < 0.8
    assert chosen.overfitting is not None
    assert chosen.overfitting.probability > 0.3


def test_a_real_edge_survives_and_failures_count_as_trials() -> None:
    """One strategy that earns among three that do not; failed trials and those made elsewhere raise the bar."""
    noise = np.random.default_rng(5).normal(0, 0.01, (240, 4))
    noise[:, 2] += 0.006
    rows = [_row(str(n), column) for n, column in enumerate(noise.T)]
    chosen = select([*rows, {"key": "x", "settings": {}, "error": "no data"}], elsewhere=3)
    assert (chosen.best["key"], chosen.trials, chosen.failed) == ("2", 8, 1)
    assert chosen.overfitting is not None
    assert chosen.overfitting.probability == 0.0
    assert (chosen.deflated_sharpe or 0) < (select(rows).deflated_sharpe or 0)


def test_a_grid_of_which_nothing_ended_says_why() -> None:
    """The reasons of the failures, once each."""
    with pytest.raises(DataError, match="no data"):
        select([{"key": n, "settings": {}, "error": "no data"} for n in "ab"])


def test_the_capacity_curve_is_the_rows_in_order_of_size() -> None:
    """Profit grows slower than the money; failed sizes are left out."""
    assert sizes(100.0, [4, 1, 4]) == {"execution.initial_cash": [100.0, 400.0]}
    row = {"error": "", "turnover": 1.0, "limits_that_bound": {"depth_share": 3}}
    big = row | {"settings": {"execution.initial_cash": 400.0}, "net_return": 0.01}
    small = row | {"settings": {"execution.initial_cash": 100.0}, "net_return": 0.02}
    failed = {"settings": {"execution.initial_cash": 900.0}, "error": "x"}
    points = capacity_curve([big, failed, small], 100.0)
    assert [(point.multiple, point.profit) for point in points] == [(1.0, 2.0), (4.0, 4.0)]
