"""How long an order and its answer travel: a constant, or interpolated from recorded orders.

`Assumptions` carries one; `venue.SimVenue` asks when an order sent now arrives and when an answer given now is known.
Both are non-decreasing: messages of one connection do not overtake each other. It must never shorten a recorded delay.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import MS
from cryptoai.core.errors import DataError

__all__ = ["ConstantLatency", "Latency", "RecordedLatency", "read_latency"]

Ints = npt.NDArray[np.int64]


class Latency(Protocol):
    """Times in ns."""

    def arrives(self, sent: int) -> int:
        """When what was sent at `sent` is at the exchange."""
        ...

    def known(self, said: int) -> int:
        """When what the exchange said at `said` is known to us."""
        ...

    def seen(self, now: int) -> int:
        """The newest exchange time whose answers are known at `now`."""
        ...

    def describe(self) -> str:
        """For the assumption banner."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantLatency:
    """The same delay each time, there and back."""

    out_ns: int
    back_ns: int

    def __post_init__(self) -> None:
        if min(self.out_ns, self.back_ns) < 0:
            raise DataError(
                f"a latency of {self.out_ns} and {self.back_ns} ns: an order cannot arrive before it is sent"
            )

    def arrives(self, sent: int) -> int:
        return sent + self.out_ns

    def known(self, said: int) -> int:
        return said + self.back_ns

    def seen(self, now: int) -> int:
        return now - self.back_ns

    def describe(self) -> str:
        return f"{self.out_ns / MS:g} ms to the exchange and {self.back_ns / MS:g} ms back, always"


class RecordedLatency:
    """Linear between recorded orders, in both directions; before the first and after the last record, theirs."""

    def __init__(self, send: Ints, exchange: Ints, ack: Ints) -> None:
        """int64[n], ns of our clock at both ends and of the exchange's, corrected to ours, in between.

        DataError unless send <= exchange <= ack in every row. A row that overtakes the one before it is held back.
        """
        if not len(send) or not len(send) == len(exchange) == len(ack):
            raise DataError("recorded latencies need at least one row of send, exchange and ack times")
        if np.any(send > exchange) or np.any(exchange > ack):
            raise DataError("a recorded order is acknowledged before it arrives or arrives before it is sent")
        order = np.argsort(send, kind="stable")
        there, back = np.maximum.accumulate(exchange[order]), np.maximum.accumulate(ack[order])
        self._out = _Line(send[order].tolist(), there.tolist())
        self._back = _Line(there.tolist(), back.tolist())
        delays = (exchange - send, ack - exchange)
        self._medians = [float(np.median(delay)) / MS for delay in delays]
        self._rows = len(send)

    def arrives(self, sent: int) -> int:
        return self._out.at(sent)

    def known(self, said: int) -> int:
        return self._back.at(said)

    def seen(self, now: int) -> int:
        return self._back.inverse(now)

    def describe(self) -> str:
        there, back = self._medians
        return f"interpolated from {self._rows} recorded orders, median {there:g} ms there and {back:g} ms back"


class _Line:
    """A non-decreasing map of times, linear between points, in whole ns; slope one outside of them."""

    def __init__(self, xs: list[int], ys: list[int]) -> None:
        last: dict[int, int] = dict(zip(xs, ys, strict=True))
        self._xs, self._ys = list(last), list(last.values())

    def at(self, x: int) -> int:
        n = bisect_right(self._xs, x)
        if n in (0, len(self._xs)):
            end = -1 if n else 0
            return x + self._ys[end] - self._xs[end]
        x0, x1, y0, y1 = self._xs[n - 1], self._xs[n], self._ys[n - 1], self._ys[n]
        return y0 + (y1 - y0) * (x - x0) // (x1 - x0)

    def inverse(self, y: int) -> int:
        """The largest x with at(x) <= y; delays are not negative, so it is at most y."""
        low, high = y - max(a - b for a, b in zip(self._ys, self._xs, strict=True)), y + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.at(middle) <= y else (low, middle)
        return low


def read_latency(path: Path) -> RecordedLatency:
    """A CSV file with the header send_ns,exchange_ns,ack_ns; DataError names the file."""
    try:
        with path.open(encoding="utf-8") as lines:
            header = lines.readline().strip()
            table = np.loadtxt(lines, np.int64, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        raise DataError(f"latency file {path} cannot be read: {error}") from error
    if header != "send_ns,exchange_ns,ack_ns" or table.shape[1:] != (3,):
        raise DataError(f"latency file {path} needs the columns send_ns,exchange_ns,ack_ns, not {header}")
    return RecordedLatency(*(np.ascontiguousarray(column) for column in table.T))
