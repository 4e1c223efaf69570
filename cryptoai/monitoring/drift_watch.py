"""Drift of one running bot: its states against the bundle's reference or its own start, and its model's answers.

Polled by the dashboard every few seconds. Reads the optional state log; where there is none only the model's outputs
are watched. It must never fail the page: what cannot be compared is said in `note`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cryptoai.core.errors import DataError
from cryptoai.data_universe.schema import FEATURES, GROUPS, NAMES, SCHEMA_HASH, group_slice
from cryptoai.monitoring.drift import Reference, by_group, compare
from cryptoai.monitoring.journal_view import JournalView
from cryptoai.monitoring.state_log import States, read_states

__all__ = ["DriftWatch", "bundle_reference"]

_LEAST = 48
_OWN_START = "the first decisions of this run"
_SPANS = {name: group_slice(name) for name in GROUPS}


def bundle_reference(bundle: Path | None) -> Reference | None:
    """The reference that training left in `evidence.json` (key `drift_reference`), if it did."""
    if bundle is None:
        return None
    try:
        raw = json.loads((bundle / "evidence.json").read_bytes()).get("drift_reference")
    except (OSError, ValueError, AttributeError):
        return None
    return Reference.from_json(raw) if raw else None


class DriftWatch:
    """Compares the newest states, at most `window`, with the bundle's reference or as many of the first ones."""

    def __init__(self, bundle: Path | None, state_log: Path | None, *, window: int = 256) -> None:
        self._state_log, self._window = state_log, window
        self._bundle = bundle

    def report(self, outputs: Sequence[tuple[float, ...]]) -> dict[str, Any]:
        """{"groups": [...], "reference": text, "note": text or None}; `outputs` are `JournalView.outputs`."""
        groups: list[dict[str, Any]] = []
        reference = _OWN_START
        note: str | None = "No state log: only the model's answers are watched."
        try:
            if self._state_log is not None:
                groups, reference, note = self._states(self._state_log)
        except (DataError, OSError) as error:
            note = str(error)
        return {"groups": [*groups, *self._outputs(outputs)], "reference": reference, "note": note}

    def _states(self, path: Path) -> tuple[list[dict[str, Any]], str, str | None]:
        """(groups, what the reference is, note)."""
        newest = read_states(path, newest=2 * self._window)
        if newest is None:
            return [], _OWN_START, "The bot has not logged a state yet."
        if len(newest) and (newest.schema_hash != SCHEMA_HASH or newest.values.shape[1] != len(FEATURES)):
            raise DataError("the state log is of another feature schema than this page; restart the bot")
        count = len(newest) // 2
        if count < _LEAST:
            return [], _OWN_START, f"{len(newest)} states so far; drift is measured from {2 * _LEAST} on."
        reference, said = self._reference(path, newest, count)
        drifts = compare(reference, newest.values[-count:], newest.mask[-count:])
        return [group.body() for group in by_group(drifts, _SPANS, NAMES)], said, None

    def _reference(self, path: Path, newest: States, count: int) -> tuple[Reference, str]:
        """What normal is: the bundle's training data, else the file's first states."""
        learned = bundle_reference(self._bundle)
        if learned is not None:
            return learned, "the training data of the bundle"
        oldest = newest if len(newest) < 2 * self._window else read_states(path, first=count) or newest
        return Reference.fit(oldest.values[:count], oldest.mask[:count]), f"the first {count} states of this run"

    def _outputs(self, outputs: Sequence[tuple[float, ...]]) -> list[dict[str, Any]]:
        """The group `answers`: what the model said lately against what it said first."""
        count = min(self._window, len(outputs) // 2)
        if count < _LEAST:
            return []
        rows = np.asarray(outputs, np.float64)
        present = np.isfinite(rows)
        reference = Reference.fit(rows[:count], present[:count])
        drifts = compare(reference, rows[-count:], present[-count:])
        spans = {"answers": slice(0, rows.shape[1])}
        return [group.body() for group in by_group(drifts, spans, JournalView.OUTPUTS)]
