"""The same promises as of processes, on Spark in local mode: nothing is lost, a dead worker's task runs again."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from cryptoai.backtesting.adapters.spark_executor import SparkExecutor
from cryptoai.backtesting.executor import Task
from cryptoai.core.errors import ConfigError
from cryptoai.testing.jobs import Chores

SPARK = importlib.util.find_spec("pyspark") is not None
needs_spark = pytest.mark.skipif(
    not SPARK or shutil.which("java") is None, reason="pyspark and Java are not installed here"
)


@needs_spark
@pytest.mark.slow
def test_every_task_comes_back_even_from_a_killed_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of five kills its worker the first time, one raises, one kills every worker: all have an outcome."""
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    bodies = [{"square": 2}, {"die": "once", "square": 3}, {"fail": "no data"}, {"die": "", "square": 4}, {"square": 5}]
    tasks = [Task(str(number), body) for number, body in enumerate(bodies)]
    found = {outcome.task.key: outcome for outcome in SparkExecutor("local[2,3]").run(Chores(tmp_path), tasks)}
    assert sorted(found) == ["0", "1", "2", "3", "4"]
    assert [(found[key].result or {}).get("squared") for key in "01234"] == [4, 9, None, None, 25]
    assert found["2"].error == "no data"
    assert found["3"].error.startswith("Spark gave it up")


@pytest.mark.skipif(SPARK, reason="Spark is installed here")
def test_without_spark_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    """Nothing was asked of anybody."""
    with pytest.raises(ConfigError, match="pip install pyspark"):
        next(SparkExecutor("local[1]").run(Chores(tmp_path), [Task("0", {"square": 2})]))
