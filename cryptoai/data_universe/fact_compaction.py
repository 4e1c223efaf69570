"""Compaction: many small files of facts become one that says the same.

The fact lake does it by itself once a folder holds many small files, `cryptoai data compact` does it for a whole lake.
The joined file is there whole before any other goes, and a reader takes rows that it meets twice once; so a crash at
any point loses nothing and shows nothing twice. It must never drop a version that a reader could have met.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cryptoai.data_universe.fact_files import Stored, read_files, stored_files, write_file
from cryptoai.data_universe.fact_versions import KEPT, rank, settle
from cryptoai.data_universe.facts import KINDS
from cryptoai.data_universe.lake_files import refusals, sweep

__all__ = ["compact_facts", "compact_folder"]

_GROWTH = 4


def compact_facts(root: Path) -> int:
    """Join the files of every partition of facts and of the quarantine; returns how many files that saved."""
    folders = {file.parent for kind in KINDS for file in root.glob(f"kind={kind}/venue=*/symbol=*/date=*/*.parquet")}
    folders |= {file.parent for file in root.glob("quarantine/kind=*/venue=*/symbol=*/*.parquet")}
    with refusals(root):
        return sum(compact_folder(folder) for folder in sorted(folders))


def compact_folder(folder: Path, *, all_sizes: bool = True) -> int:
    """Join the files of one folder; without `all_sizes` the large ones stay, so that appending stays cheap."""
    sweep(folder)
    there = stored_files(folder)
    files = there if all_sizes else _small(there)
    if len(files) < 2:
        return 0
    refused = "quarantine" in {part.name for part in folder.parents}
    joined = _join(folder, files, refused=refused)
    for file in files:
        if file.path != joined:
            file.path.unlink(missing_ok=True)
    return len(there) - len(list(folder.glob("*.parquet")))


def _small(files: Sequence[Stored]) -> list[Stored]:
    """From the smallest up, all that are not much larger than those before them together."""
    chosen: list[Stored] = []
    for file in sorted(files, key=lambda file: (file.rows, file.path)):
        if len(chosen) >= 2 and file.rows > _GROWTH * sum(each.rows for each in chosen):
            break
        chosen.append(file)
    return sorted(chosen, key=lambda file: file.path)


def _join(folder: Path, files: Sequence[Stored], *, refused: bool) -> Path:
    reasons: list[str] | None = [] if refused else None
    sources: list[str] = []
    rows = read_files(files, files[0].kind, reasons, sources)
    order = rank(rows)
    kept = order if refused else order[(settle(rows) == KEPT)[order]]
    texts = [np.array(column, object)[kept].tolist() for column in (sources, reasons) if column is not None]
    return write_file(folder, rows.take(kept), texts[0], texts[1] if refused else None)
