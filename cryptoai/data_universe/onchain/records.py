"""Rows of a table or of a JSON answer -> on-chain facts. The one place where a provider's words become ours.

Files and HTTP answers both come here as mappings, wide (a column a metric) or long (columns `metric` and `value`).
Pure. It never guesses a unit: a column whose name is not in `COLUMNS` is not read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import MappingProxyType

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.onchain.metrics import DAY, METRIC_NAMES, METRICS, known_at, metric

__all__ = ["COLUMNS", "NATIVE_COLUMNS", "Answer", "Wanted", "assemble", "moment"]

Record = Mapping[str, object]

_TIMES = ("time", "date", "timestamp", "day", "datetime", "event_time")
_ASSETS = ("asset", "coin", "chain")
_PUBLISHED = ("published", "published_at", "known_at")
_ABSENT = {"", "null", "nan", "none", "na", "n/a"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_OTHER_NAMES = {
    "transactions": "tx_count txcnt transaction_count n_transactions",
    "active_addresses": "adractcnt unique_addresses",
    "fees": "feetotusd fees_usd",
    "hash_rate": "hashrate",
    "transfer_value": "txtfrvaladjusd transfer_value_usd",
    "exchange_inflow": "flowinexusd exchange_inflow_usd",
    "exchange_outflow": "flowoutexusd exchange_outflow_usd",
    "stablecoin_supply": "stablecoin_supply_usd",
    "stablecoin_inflow": "stablecoin_inflow_usd",
    "mempool_size": "mempool_count",
    "block_height": "height",
    "difficulty": "difflast",
    "market_value": "capmrktcurusd market_cap",
    "realised_value": "caprealusd realized_cap realized_value realised_cap",
    "whale_transfer": "whale_transfer_usd",
    "price": "priceusd price_usd",
    "fear_greed": "fng fear_and_greed",
}

COLUMNS: Mapping[str, str] = MappingProxyType(
    {name: name for name in METRIC_NAMES}
    | {other: name for name, others in _OTHER_NAMES.items() for other in others.split()}
)
"""Column name in lower case -> metric."""

NATIVE_COLUMNS: Mapping[str, str] = MappingProxyType({"fees_btc": "fees", "feetotntv": "fees", "fees_native": "fees"})
"""Columns in units of the coin; they become quote units with the price of the same row, and nothing without it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: event times in [start, stop), nothing that is public later than `now`, all in ns."""

    asset: str
    metrics: frozenset[str]
    start: int
    stop: int
    now: int | None = None

    @classmethod
    def of(cls, asset: str, metrics: Sequence[str], start: int, stop: int, now: int | None = None) -> Wanted:
        """Checked: `DataError` for a metric that does not exist, or a span that ends before it starts."""
        for name in metrics:
            metric(name)
        if stop < start:
            raise DataError(f"on-chain data were asked for from {start} to {stop}; the end is before the start")
        return cls(asset.upper(), frozenset(metrics), start, stop, now)


@dataclass(frozen=True, slots=True)
class Answer:
    """Facts, and how many values were not believed, by reason."""

    facts: Facts
    refused: Mapping[str, int]


def assemble(records: Iterable[Record], wanted: Wanted) -> Answer:
    """Facts of what is wanted. A value that is no number, implausible, or said twice is refused and counted."""
    refused: Counter[str] = Counter()
    rows: dict[tuple[int, int, int], float] = {}
    for record in records:
        for row in _values(record, wanted, refused):
            if row[:3] in rows:
                refused["said twice"] += rows[row[:3]] != row[3]
            else:
                rows[row[:3]] = row[3]
    made = [(event, known, float(index), value) for (index, event, known), value in rows.items()]
    facts = Facts.of(
        "onchain", [row[0] for row in made], [row[1] for row in made], [value for row in made for value in row[2:]]
    )
    return Answer(facts, MappingProxyType(+refused))


def moment(value: object) -> int:
    """A time as ns: ISO text (UTC unless it says otherwise), a date, or unix s, ms, us or ns told by size.

    Raises `ValueError`, also for a time before 1824 or after 2116.
    """
    found = _moment(value)
    if abs(found) >= 2**62:
        raise ValueError(f"{value!r} is too far away")
    return found


def _moment(value: object) -> int:
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return _nanoseconds(aware)
    if isinstance(value, date):
        return _nanoseconds(datetime(value.year, value.month, value.day, tzinfo=UTC))
    text = str(value).strip()
    try:
        number = int(text)
    except ValueError:
        return _moment(datetime.fromisoformat(text))
    for scale, below in ((SECOND, 10**11), (10**6, 10**14), (10**3, 10**17), (1, 10**20)):
        if abs(number) < below:
            return number * scale
    raise ValueError(f"{value!r} is not a time")


def _nanoseconds(aware: datetime) -> int:
    span = aware - _EPOCH
    return (span.days * 86_400 + span.seconds) * SECOND + span.microseconds * 1000


def _values(record: Record, wanted: Wanted, refused: Counter[str]) -> Iterator[tuple[int, int, int, float]]:
    """(metric, event time, known_at, value) of one record."""
    row = {str(name).strip().lower(): value for name, value in record.items()}
    asset = _first(row, _ASSETS)
    if asset is not None and str(asset).upper() != wanted.asset:
        return
    try:
        event = moment(_first(row, _TIMES))
        said = _first(row, _PUBLISHED)
        published = None if said is None or _absent(said) else moment(said)
    except (ValueError, OverflowError):
        refused["a time that cannot be read"] += 1
        return
    for name, value in _named(row, refused):
        index = metric(name)
        if name not in wanted.metrics:
            continue
        at = event - event % DAY if METRICS[index].cadence == "day" else event
        known = max(known_at(index, at), published or 0)
        if not wanted.start <= at < wanted.stop or (wanted.now is not None and known > wanted.now):
            continue
        if METRICS[index].low <= value <= METRICS[index].high:
            yield index, at, known, value
        else:
            refused[f"{name} outside {METRICS[index].low:g}..{METRICS[index].high:g}"] += 1


def _named(row: Record, refused: Counter[str]) -> Iterator[tuple[str, float]]:
    """(metric name, value) pairs of a wide or long row."""
    pairs = [(str(row["metric"]).strip().lower(), row.get("value"))] if "metric" in row else list(row.items())
    price = _number(next((row[name] for name in ("price", "priceusd", "price_usd") if name in row), None))
    for column, raw in pairs:
        name = COLUMNS.get(column) or NATIVE_COLUMNS.get(column)
        if name is None or _absent(raw):
            continue
        value = _number(raw)
        if column in NATIVE_COLUMNS:
            value = None if value is None or price is None else value * price
        if value is None:
            refused[f"{name} is not a number" if column in COLUMNS else f"{column} without a price"] += 1
        else:
            yield name, value


def _first(row: Record, names: Sequence[str]) -> object | None:
    return next((row[name] for name in names if name in row), None)


def _absent(value: object) -> bool:
    return value is None or str(value).strip().lower() in _ABSENT


def _number(value: object) -> float | None:
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None
