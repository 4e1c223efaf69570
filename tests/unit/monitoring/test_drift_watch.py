"""What the page is told of drift, from files that may not be there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from cryptoai.core.state import StateVector
from cryptoai.data_universe.schema import GROUPS, SCHEMA_HASH, WIDTH, group_slice
from cryptoai.monitoring.drift import Reference
from cryptoai.monitoring.drift_watch import DriftWatch
from cryptoai.monitoring.journal_view import JournalView
from cryptoai.monitoring.state_log import StateLog


def log_states(path: Path, rows: int, *, moved_from: int = 10**9, schema: str = SCHEMA_HASH) -> None:
    random = np.random.default_rng(1)
    mask = np.ones(WIDTH, np.bool_)
    mask[group_slice("onchain")] = False
    with StateLog(path, schema, WIDTH) as log:
        for i in range(rows):
            values = random.normal(size=WIDTH)
            values[group_slice("flow")] += 3.0 * (i >= moved_from)
            log.append(StateVector.of("a:B", (i, i), SCHEMA_HASH, values.tolist(), mask.tolist()))


def test_a_moved_group_is_named_and_an_absent_one_is_not_judged(tmp_path: Path) -> None:
    """The flow drifts, the chain has no data, the rest is steady; the reference is the run's own start."""
    log_states(tmp_path / "s", 400, moved_from=250)
    report = DriftWatch(None, tmp_path / "s", window=128).report([])
    groups = {group["group"]: group for group in report["groups"]}
    assert list(groups) == list(GROUPS)
    assert groups["flow"]["share"] == 1.0
    assert groups["onchain"]["measured"] == 0
    assert max(groups[name]["share"] for name in ("liquidity", "derivatives", "regime")) == 0.0
    assert "first 128 states" in report["reference"]


def test_few_states_are_split_in_halves_and_fewer_are_not_judged(tmp_path: Path) -> None:
    """Something is said early, but not from a handful."""
    log_states(tmp_path / "s", 120, moved_from=60)
    assert DriftWatch(None, tmp_path / "s").report([])["groups"][0]["share"] == 1.0
    log_states(tmp_path / "t", 30)
    report = DriftWatch(None, tmp_path / "t").report([])
    assert (report["groups"], "30 states" in report["note"]) == ([], True)


def test_the_bundles_reference_is_preferred(tmp_path: Path) -> None:
    """What training saw is normal, even if the run never saw it."""
    values = np.random.default_rng(2).normal(5.0, size=(200, WIDTH))
    reference = Reference.fit(values, np.ones(values.shape, np.bool_))
    (tmp_path / "evidence.json").write_text(json.dumps({"drift_reference": reference.to_json()}))
    log_states(tmp_path / "s", 200)
    report = DriftWatch(tmp_path, tmp_path / "s").report([])
    assert report["reference"] == "the training data of the bundle"
    assert report["groups"][0]["share"] == 1.0


def test_the_models_answers_are_watched_too(tmp_path: Path) -> None:
    """Without a state log there is still this group, and a note."""
    random = np.random.default_rng(3)
    rows = [tuple(random.normal(2.0 * (i >= 200), size=len(JournalView.OUTPUTS)).tolist()) for i in range(400)]
    report = DriftWatch(None, None).report(rows)
    (group,) = report["groups"]
    assert (group["group"], group["drifted"]) == ("answers", len(JournalView.OUTPUTS))
    assert "No state log" in report["note"]
    assert DriftWatch(None, tmp_path / "none").report([])["groups"] == []


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A log of another schema, or a file that is none, never fails the page."""
    log_states(tmp_path / "s", 100, schema="older")
    assert "another feature schema" in DriftWatch(None, tmp_path / "s").report([])["note"]
    (tmp_path / "x").write_bytes(b"x" * 200)
    assert "not a state log" in DriftWatch(None, tmp_path / "x").report([])["note"]
