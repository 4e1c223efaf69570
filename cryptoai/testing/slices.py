"""The first seconds of the shipped tapes, for tests that want real market data without waiting for all of it.

For tests only; it reads the same files through the same importer as everything else.
"""

from __future__ import annotations

import functools
import gzip
import itertools
import tempfile
from pathlib import Path

from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.market_microstructure.tape import read_capture

__all__ = ["TAPES", "head"]

TAPES = Path(__file__).parent / "tapes"
"""Folder of the shipped captures; their licence stands beside them."""


@functools.cache
def head(instrument_id: str, lines: int) -> EventArray:
    """Events of the first `lines` lines of the shipped tape of an instrument such as binance_usdm:BTCUSDT."""
    wanted = instrument(instrument_id)
    source = TAPES / f"{wanted.venue}_{wanted.symbol.lower()}_20240808.gz"
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / "head.jsonl"
        with gzip.open(source, "rb") as whole, short.open("wb") as part:
            part.writelines(itertools.islice(whole, lines))
        return read_capture(short, wanted).events
