"""Processes that run tasks: all come back, whatever happens to the processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cryptoai.backtesting.executor import ProcessExecutor, Task
from cryptoai.testing.jobs import Chores


def test_every_task_comes_back_even_from_a_killed_worker(tmp_path: Path) -> None:
    """One of five kills its worker the first time it runs, one raises; four results, one reason, nothing lost."""
    bodies = [{"square": 2}, {"die": "once", "square": 3}, {"fail": "no data"}, {"square": 4}, {"square": 5}]
    tasks = [Task(str(number), body) for number, body in enumerate(bodies)]
    outcomes = {outcome.task.key: outcome for outcome in ProcessExecutor(workers=2).run(Chores(tmp_path), tasks)}
    assert sorted(outcomes) == ["0", "1", "2", "3", "4"]
    assert [(outcomes[k].result or {}).get("squared") for k in "01234"] == [4, 9, None, 16, 25]
    assert outcomes["2"].error == "no data"
    assert outcomes["1"].deaths == 1


def test_workers_are_gone_when_the_caller_leaves_early(tmp_path: Path) -> None:
    """After the first of three outcomes nobody listens any more, and no process is left behind."""
    outcomes = ProcessExecutor(workers=1).run(Chores(tmp_path), [Task(str(n), {"square": n}) for n in range(3)])
    worker = (next(outcomes).result or {})["pid"]
    os.kill(worker, 0)
    outcomes.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_task_that_always_kills_its_worker_is_given_up_with_a_reason(tmp_path: Path) -> None:
    """After two dead workers it is an error, and the task behind it is still done."""
    tasks = [Task("deadly", {"die": "", "square": 1}), Task("well", {"square": 6})]
    outcomes = {o.task.key: o for o in ProcessExecutor(workers=1, deaths=2).run(Chores(tmp_path), tasks)}
    assert outcomes["deadly"].result is None
    assert "died 2 times" in outcomes["deadly"].error
    assert (outcomes["well"].result or {})["squared"] == 36
