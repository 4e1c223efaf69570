"""The overlay for data that outgrow a machine, where its engine is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml

from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.feast_store import FeastStore
from cryptoai.testing import point_in_time

REPO = Path(__file__).parents[2] / "feature_repo"


def test_the_overlay_names_the_engine_that_was_chosen() -> None:
    """UTC is part of the choice: Spark gives naive times in the zone of its session."""
    overlay = yaml.safe_load((REPO / "overlays" / "scale.yaml").read_text())

    assert overlay["offline_store"]["type"] == "spark"
    assert overlay["offline_store"]["spark_conf"]["spark.sql.session.timeZone"] == "UTC"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="pyspark is not installed (feast[spark])")
def test_spark_answers_the_hand_checked_cases(tmp_path: Path) -> None:
    """The same questions as on one machine, one view, one row for each."""
    point_in_time.write_rows(tmp_path / "offline")
    store = FeastStore(REPO, tmp_path, overlay="scale")
    store.apply()
    cases = point_in_time.CASES
    times = np.array([point_in_time.moment("regime", case.share, case.us) for case in cases])
    values, mask = store.history([case.instrument for case in cases], times)
    place = schema.group_slice("regime").start

    found = [float(values[k, place]) if mask[k, place] else None for k in range(len(cases))]
    assert found == [case.value for case in cases]
