"""Books of decimal texts and the checksums that venues publish over them (OKX, Kraken).

The sequence rule keeps one for each instrument of a venue with checksums. A checksum is over the texts that were sent,
so the texts are kept. A mismatch is answered, never repaired.

OKX (docs-v5, "Checksum"): CRC32, signed, of `bid:size:ask:size:...` over the best 25 in turn; a side that is shorter is
left out where it ends. Kraken ("Book checksum"): CRC32 of the best ten asks, best first, then the best ten bids, each
price and volume without its point and leading zeros.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable
from itertools import zip_longest

from cryptoai.data_universe.market_microstructure.messages import Depth, Pairs

__all__ = ["CheckedBook", "kraken_checksum", "okx_checksum"]

Checksum = Callable[[Pairs, Pairs], int]
_OKX_DEPTH, _KRAKEN_DEPTH = 25, 10
_MOST_DECIMALS = 12


def okx_checksum(bids: Pairs, asks: Pairs) -> int:
    """Of the levels, best first."""
    parts: list[str] = []
    for bid, ask in zip_longest(bids[:_OKX_DEPTH], asks[:_OKX_DEPTH], fillvalue=None):
        parts += [*(bid or ()), *(ask or ())]
    value = zlib.crc32(":".join(parts).encode())
    return value - (1 << 32) if value >= 1 << 31 else value


def kraken_checksum(bids: Pairs, asks: Pairs) -> int:
    """Of the levels, best first, in texts with all the decimals of the pair."""
    levels = [*asks[:_KRAKEN_DEPTH], *bids[:_KRAKEN_DEPTH]]
    digits = "".join(text.replace(".", "").lstrip("0") for level in levels for text in level)
    return zlib.crc32(digits.encode())


class _Side:
    """Levels of one side, best first at the end of neither: keys ascend, `sign` turns bids round."""

    __slots__ = ("_keys", "_levels", "_sign")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[float] = []
        self._levels: dict[float, list[str]] = {}

    def set(self, level: list[str]) -> None:
        key = self._sign * float(level[0])
        if float(level[1]) == 0:
            if self._levels.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if key not in self._levels:
            self._keys.insert(bisect_left(self._keys, key), key)
        self._levels[key] = level

    def best(self, count: int) -> Pairs:
        return [self._levels[key] for key in self._keys[:count]]

    def cut(self, limit: int) -> Pairs:
        """Forget the levels beyond `limit` and tell which they were, as removals."""
        gone = [self._levels.pop(key)[0] for key in self._keys[limit:]]
        del self._keys[limit:]
        return [[price, "0"] for price in gone]


class CheckedBook:
    """One instrument's book. `depth` levels enter the checksum; with `finds_decimals` the texts may lack zeros at the
    end (JSON numbers), and the first snapshot's checksum tells how many decimals the pair has."""

    def __init__(self, checksum: Checksum, depth: int, *, finds_decimals: bool = False) -> None:
        self._checksum = checksum
        self._depth = depth
        self._finds = finds_decimals
        self._decimals: tuple[int, int] | None = None
        self._limit = 0
        self._sides = (_Side(-1), _Side(1))

    @classmethod
    def okx(cls) -> CheckedBook:
        """For the books channels of OKX."""
        return cls(okx_checksum, _OKX_DEPTH)

    @classmethod
    def kraken(cls) -> CheckedBook:
        """For both versions of Kraken's book channel."""
        return cls(kraken_checksum, _KRAKEN_DEPTH, finds_decimals=True)

    def reset(self, depth: Depth) -> bool:
        """Take a snapshot; False if its checksum is wrong."""
        self._sides, self._limit = (_Side(-1), _Side(1)), depth.limit
        return self.update(depth, first=True)

    def update(self, depth: Depth, *, first: bool = False) -> bool:
        """Take changes, cut at the subscribed depth (told in `depth` as removals); False if the checksum is wrong."""
        for side, pairs in zip(self._sides, (depth.bids, depth.asks), strict=True):
            for level in pairs:
                side.set(level)
            if self._limit:
                pairs.extend(side.cut(self._limit))
        if depth.checksum is None:
            return True
        best = [side.best(self._depth) for side in self._sides]
        if first and self._finds:
            self._decimals = self._find(best[0], best[1], depth.checksum)
        return self._value(best[0], best[1], self._decimals) == depth.checksum

    def _value(self, bids: Pairs, asks: Pairs, decimals: tuple[int, int] | None) -> int:
        if decimals is None:
            return self._checksum(bids, asks)
        return self._checksum(_padded(bids, decimals), _padded(asks, decimals))

    def _find(self, bids: Pairs, asks: Pairs, wanted: int) -> tuple[int, int] | None:
        """How many decimals of price and volume give the checksum; None if the texts as they are do."""
        if self._checksum(bids, asks) == wanted:
            return None
        pairs = [(p, q) for p in range(_MOST_DECIMALS) for q in range(_MOST_DECIMALS)]
        return next((found for found in pairs if self._value(bids, asks, found) == wanted), None)


def _padded(levels: Pairs, decimals: tuple[int, int]) -> Pairs:
    return [[_pad(text, places) for text, places in zip(level, decimals, strict=True)] for level in levels]


def _pad(text: str, places: int) -> str:
    whole, _, rest = text.partition(".")
    return whole + rest.ljust(places, "0")
