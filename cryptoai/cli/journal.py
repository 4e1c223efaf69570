"""`cryptoai journal`: verify a journal and explain any decision from it alone (invariant 11).

Reads only; a journal is never written, mended or moved from here.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from cryptoai.cli.console import out
from cryptoai.core.clock import iso
from cryptoai.core.errors import DataError
from cryptoai.core.journal import read_journal

__all__ = ["show_journal"]


def show_journal(path: Path, decision: int | None) -> int:
    """Prints the counts, or everything that is known of one decision; DataError if the chain is broken."""
    if not path.is_file():
        raise DataError(f"{path} is no journal; give the journal.jsonl of a bot")
    if decision is None:
        _count(path)
    else:
        from cryptoai.execution.explain import explain

        out.print_json(json.dumps(explain(path, decision)))
    return 0


def _count(path: Path) -> None:
    records = list(read_journal(path))
    if not records:
        raise DataError(f"{path} holds no whole record yet")
    kinds = Counter(record.kind for record in records)
    out.print(f"{len(records)} records, chain whole, {iso(records[0].time)} to {iso(records[-1].time)}")
    out.print("  ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))
