"""A journal's records without a file, for what folds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from cryptoai.core.journal import GENESIS, Record, encode
from cryptoai.monitoring.journal_view import JournalView
from cryptoai.testing.journals import SyntheticRun

Entry = tuple[str, int, dict[str, Any]]


def records(entries: Iterable[Entry]) -> list[Record]:
    found: list[Record] = []
    for kind, time, body in entries:
        record, _ = encode(len(found), time, kind, body, found[-1].sum if found else GENESIS)
        found.append(record)
    return found


@pytest.fixture
def entries() -> list[Entry]:
    """A start and forty decisions."""
    run = SyntheticRun()
    made = [run.start()]
    for _ in range(40):
        made.extend(run.decide())
    return made


@pytest.fixture
def view(entries: list[Entry]) -> JournalView:
    made = JournalView()
    for record in records(entries):
        made.apply(record)
    return made
