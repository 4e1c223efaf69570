"""docs/data-lake.md: how the lake is laid out, what it promises, and the kinds of facts as the code has them.

Called by scripts/generate.py only. It must never say of a kind what `facts.KINDS` does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptoai.data_universe.facts import KINDS, Column, FactKind
from cryptoai.data_universe.quarantine import FACTOR

__all__ = ["render"]

_TEXT = """\
<!-- Made by scripts/generate.py from cryptoai/data_universe/lake_docs.py and facts.py; edit those, then run it. -->

# The data lake

Everything that the product knows of the past is Parquet under `data.lake` (zstd, page checksums, schema version in the
metadata). Any tool that reads hive partitions can read it; nothing needs CryptoAI:

```python
import duckdb, polars

polars.scan_parquet("var/lake/kind=funding/**/*.parquet", hive_partitioning=True).collect()
duckdb.sql("select * from read_parquet('var/lake/kind=mark/**/*.parquet', hive_partitioning = true)")
```

## Layout

| path | holds |
|---|---|
| `kind=events/venue=V/symbol=S/date=D/*.parquet` | trades and book changes of one UTC day of `known_at` |
| `kind=KIND/venue=V/symbol=S/date=D/*.parquet` | facts; `D` begins the month (`onchain`: year) of `event_time` |
| `quarantine/kind=KIND/venue=V/symbol=S/*.parquet` | refused facts with `reason` and `source` |
| `quarantine/kind=KIND/venue=V/symbol=S/*.jsonl` | refused lines: `line`, `reason`, `text`, `count` |

`event_time` and `known_at` are int64 nanoseconds UTC. A fact has two times: when it was true, and when anybody here
could first know it. Every file is sorted by `known_at`.

## What is promised

- **Whole or not there.** A file is written beside its place, made durable (fsync of file and folder) and renamed. What
  a killed process leaves is hidden (`.*.tmp`), never read, and swept by the next write.
- **Once.** Importing twice, or files that overlap, changes nothing. A row is the same fact if its `event_time` and the
  key columns below are equal; said again with the same values it is not stored, and keeps its earliest `known_at`.
- **Corrections.** Another value with a later `known_at` is kept beside the first: a reader at time *t* sees what was
  known at *t*. Another value with the *same* `known_at` contradicts; the row that was there first stays.
- **Nothing silent.** Implausible rows go to quarantine with their reason and are counted in the report. A damaged file
  is an error that names it.
- **Few files.** Small files join by themselves past 32 in a folder; `cryptoai data compact` joins all. A crash in
  between loses nothing and shows our readers nothing twice; another tool may meet rows twice until the next one.

## What is refused

A missing or infinite number, a value outside its bounds, an impossible bar (high below its body), a time before 2009 or
after the import, `known_at` before `event_time`, a present-time reading older than the one before (its clock ran
backwards), a repeated row, a contradiction, and an absurd price. A price is absurd if it is more than {factor:g} times
away from both the last price believed and the median of the last five, or, in a bar, from the bar's own body. Only
earlier rows are used. A dropped digit is 10 times; the widest honest hour of 2020 to 2022 in eight contracts was 2.9. A
new denomination is believed after 20 refused rows that agree (3 at the start of a tape).

## Commands

| command | does |
|---|---|
| `cryptoai data import-facts FILE --instrument venue:SYMBOL` | stores a CSV (.gz, .zip) or Parquet table |
| `cryptoai data poll venue:SYMBOL ...` | asks a venue's REST API every `--every` seconds |
| `cryptoai data inspect --picture lake.html` | coverage, holes, lag and refusals as a table and as a page |
| `cryptoai data compact` | joins small files |

Columns of a table are found by name; `venue:*` takes every symbol. Funding without an interval has it inferred from the
payments; `event_time` keeps its milliseconds. Bars of mark prices with traded volume are refused: such files are
contract candles. Files that only publish a liquidated notional are stored with side 0, price 1 and the notional as
quantity. A liquidation's side is that of the forced order; Bybit names the position, which the import turns around.

## Kinds of facts
"""


def render() -> str:
    """The whole page."""
    return _TEXT.format(factor=FACTOR) + "".join(f"\n{section}" for kind in KINDS.values() for section in _kind(kind))


def _kind(kind: FactKind) -> Iterator[str]:
    key = ", ".join(("event_time", *kind.key))
    rows = "\n".join(_row(column) for column in kind.columns)
    table = f"| column | unit | meaning | plausible |\n|---|---|---|---|\n{rows}"
    yield f"### {kind.name}\n\n{kind.doc} The same fact: `{key}`.\n\n{table}\n"


def _row(column: Column) -> str:
    bounds = ", ".join(f"{choice:g}" for choice in column.choices) or f"{column.low:g} to {column.high:g}"
    return f"| `{column.name}` | {column.unit} | {column.doc} | {bounds}{' or none' if column.optional else ''} |"
