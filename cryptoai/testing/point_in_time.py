"""Hand-checked questions that every point-in-time join has to answer the same way.

`write_rows` makes the offline files, out of order and with repeats, as no careful writer would; `CASES` are the
questions with the answers worked out by hand. Times are in shares of a group's largest age, so that the edge of ttl is
tried for every group. Tests ask Feast's engines and the join of `data_universe.history` alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cryptoai.core.clock import SECOND
from cryptoai.core.config import FeaturesConfig
from cryptoai.data_universe import schema
from cryptoai.data_universe.history import CREATED, JOIN_KEY, TIMESTAMP, History, event_column, known_column
from cryptoai.data_universe.packed import limits

__all__ = ["CASES", "KNOWN", "Case", "moment", "write_rows"]

START = 1_700_000_000 * SECOND
ONE, OTHER, NOBODY = "venue_a:ONEUSDT", "venue_a:OTHERUSDT", "venue_a:NOBODY"
KNOWN = (ONE, OTHER)
US = 1_000


@dataclass(frozen=True, slots=True)
class Case:
    """At `share` of the largest age, plus `us` microseconds, `value` is known of `instrument`; None is missing."""

    name: str
    instrument: str
    share: float
    us: int
    value: float | None


CASES = (
    Case("before the first row", ONE, 0, -1, None),
    Case("at the first row", ONE, 0, 0, 1.0),
    Case("a microsecond later", ONE, 0, 1, 1.0),
    Case("before a tie", ONE, 0.25, -1, 1.0),
    Case("at a tie the row created last wins", ONE, 0.25, 0, 3.0),
    Case("after a tie", ONE, 0.25, 1, 3.0),
    Case("a row that is there twice", ONE, 0.5, 0, 4.0),
    Case("a while after it", ONE, 1.0, 0, 4.0),
    Case("at the edge of ttl", ONE, 1.5, 0, 4.0),
    Case("past ttl", ONE, 1.5, 1, None),
    Case("in a hole", ONE, 5.0, 0, None),
    Case("after a hole", ONE, 10.0, 0, 5.0),
    Case("past the last row", ONE, 11.0, 1, None),
    Case("an instrument without rows", NOBODY, 0.5, 0, None),
    Case("another instrument", OTHER, 0.5, 0, 6.0),
    Case("a null is newer than a number", OTHER, 1.0, 0, None),
    Case("asked twice", ONE, 0.25, 0, 3.0),
)

_ROWS: dict[str, tuple[tuple[float, int, float | None], ...]] = {
    # (share of the largest age, created us later, value), in the order of the file
    ONE: ((10.0, 0, 5.0), (0.25, 9, 3.0), (0.25, 2, 2.0), (0.5, 0, 4.0), (0.0, 0, 1.0), (0.5, 0, 4.0)),
    OTHER: ((0.5, 0, 6.0), (1.0, 0, None)),
}


def moment(group: str, share: float, us: int = 0) -> int:
    """ns of a share of the group's largest age after the start."""
    return START + int(share * limits(FeaturesConfig())[group]) + us * US


def write_rows(folder: Path) -> None:
    """The offline files of all groups below `folder`."""
    past = History(folder)
    for group in schema.STORED_GROUPS:
        for instrument, rows in _ROWS.items():
            path = past.path(group, instrument)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(_table(group, instrument, rows), path, coerce_timestamps="us")


def _table(group: str, instrument: str, rows: tuple[tuple[float, int, float | None], ...]) -> pa.Table:
    known = np.array([moment(group, share) for share, _, _ in rows])
    created = np.array([moment(group, share, us) for share, us, _ in rows])
    values = pa.array([value for _, _, value in rows], pa.float32())
    return pa.table(
        {
            JOIN_KEY: pa.array([instrument] * len(rows), pa.string()),
            TIMESTAMP: pa.array(known // US, pa.timestamp("us", tz="UTC")),
            CREATED: pa.array(created // US, pa.timestamp("us", tz="UTC")),
            known_column(group): pa.array(known),
            event_column(group): pa.array(known),
            **dict.fromkeys(schema.NAMES[schema.group_slice(group)], values),
        }
    )
