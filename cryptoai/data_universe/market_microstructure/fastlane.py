"""The compiled lane beside the careful one: hands blocks to `scan`, and back comes what `scan` would not decide.

`tape` drives it. Both lanes write the same importer's state, so a line's result does not depend on its lane.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cryptoai.data_universe.market_microstructure.clockskew import REASONS
from cryptoai.data_universe.market_microstructure.importer import OTHER, Importer
from cryptoai.data_universe.market_microstructure.scan import (
    COUNTS,
    DEPTHS,
    DIFFS,
    DONE,
    FIELDS,
    FULL,
    LINES,
    OTHERS,
    QUOTES,
    REFUSED,
    TRADES,
    Lane,
    scan,
)
from cryptoai.data_universe.market_microstructure.sequence import BinanceRule

__all__ = ["FastLane"]

_DIFFS = 1 << 14


class FastLane:
    """One capture's scanner. Only for rules that are a `BinanceRule`."""

    def __init__(self, importer: Importer, *, spot: bool) -> None:
        if not isinstance(importer.rule, BinanceRule):
            raise TypeError("the compiled lane knows Binance's chain only")
        self._importer, self._rule, rows = importer, importer.rule, importer.rows
        self._lane = Lane(
            symbol=np.frombuffer(importer.instrument.symbol.encode(), np.uint8),
            price=rows.grid.price,
            qty=rows.grid.quantity,
            spot=spot,
            trades=True,
            clock=importer.clock.state,
            chain=self._rule.state,
            ids=importer.ids.state,
            cursor=rows.cursor,
            counts=np.zeros(COUNTS, np.int64),
            diffs=np.empty((_DIFFS, 4), np.int64),
            fields=np.empty((FIELDS, 2), np.int64),
            rows=rows.columns,
        )

    def lines(self, block: bytes) -> Iterator[bytes | None]:
        """Lines for the careful lane, in order; None where rows may have piled up and should be flushed."""
        buffer, at = np.frombuffer(block, np.uint8), 0
        while at < len(block):
            self._importer.rows.before_scan()
            code, start, end = scan(buffer, at, self._current())
            self._account(block)
            at = end + 1 if code != FULL else start
            if code == DONE:
                at = len(block)
                if start < len(block):
                    yield block[start:]
            elif code == FULL:
                yield None
            elif code >= REFUSED:
                self._importer.tally.lines += 1
                self._importer.tally.refuse(REASONS[code - REFUSED], block[start:end])
            else:
                yield block[start:end]
        yield None

    def _current(self) -> Lane:
        """Trades are wanted unless the capture began with another kind of them."""
        return self._lane._replace(trades=self._importer.trade_kind in (None, "trade"))

    def _account(self, block: bytes) -> None:
        counts, tally = self._lane.counts, self._importer.tally
        if not counts[LINES]:
            return
        tally.lines += int(counts[LINES])
        kinds = (("depthUpdate", DEPTHS), ("trade", TRADES), ("bookTicker", QUOTES))
        tally.messages.update({name: int(counts[place]) for name, place in kinds if counts[place]})
        if counts[OTHERS]:
            tally.ignored[OTHER] += int(counts[OTHERS])
        if counts[TRADES]:
            self._importer.trade_kind = "trade"
        if counts[DIFFS]:
            self._rule.scanned(block, self._lane.diffs[: counts[DIFFS]].copy())
        counts[:] = 0
