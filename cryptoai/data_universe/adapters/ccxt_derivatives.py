"""What a venue says of a perpetual when asked, through ccxt: funding, mark and index, open interest, positioning.

`cryptoai data poll` hands it to `derivatives.polling.record`. Public data only; it never trades, and maps every ccxt
error. What a venue does not offer is left out, never replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ccxt
import numpy as np

from cryptoai.core.clock import MS
from cryptoai.core.errors import ConfigError, TransientError, VenueError
from cryptoai.core.ids import parse_instrument
from cryptoai.data_universe.adapters.ccxt_markets import moved
from cryptoai.data_universe.derivatives.funding import funding_intervals
from cryptoai.data_universe.derivatives.polling import Reading

__all__ = ["EXCHANGES", "CcxtDerivatives"]

EXCHANGES = {"binance_usdm": "binanceusdm", "binance_coinm": "binancecoinm", "bybit_linear": "bybit", "okx_swap": "okx"}
"""Our venue names and the exchanges of ccxt that answer for them."""
_NAN = float("nan")
_PAYMENTS = 10


class CcxtDerivatives:
    """One venue, by our name of it; `base_url` replaces its host."""

    def __init__(self, venue: str, *, base_url: str | None = None, timeout_s: float = 20.0) -> None:
        if venue not in EXCHANGES:
            raise ConfigError(f"there is no way to ask {venue!r}; the venues are {', '.join(EXCHANGES)}")
        options = {"fetchCurrencies": False}
        self._exchange: Any = getattr(ccxt, EXCHANGES[venue])({"timeout": int(timeout_s * 1000), "options": options})
        if base_url:
            self._exchange.urls["api"] = moved(self._exchange.urls["api"], base_url.rstrip("/"))
        self._venue = venue

    def read(self, instrument: str) -> Sequence[Reading]:
        """Funding paid lately and announced, mark and index, open interest and the newest account ratio.

        Raises `TransientError` if the venue cannot be reached or is busy, `VenueError` if it refuses or does not list
        the instrument.
        """
        with _mapped(self._venue):
            symbol = self._symbol(instrument)
            found = list(self._now(symbol))
            found += self._paid(symbol)
            found += self._interest(symbol)
            return [*found, *self._positions(symbol)]

    def _symbol(self, instrument: str) -> str:
        venue, name = parse_instrument(instrument)
        markets = self._exchange.markets_by_id if self._exchange.load_markets() else {}
        listed = [each["symbol"] for each in markets.get(name, ()) if each.get("contract")]
        if venue != self._venue or not listed:
            raise VenueError(f"{self._venue} lists no contract {instrument}")
        return str(listed[0])

    def _now(self, symbol: str) -> Iterator[Reading]:
        said = self._exchange.fetch_funding_rate(symbol)
        time = self._time(said)
        following = said.get("fundingTimestamp") or said.get("nextFundingTimestamp")
        if said.get("fundingRate") is not None and following:
            yield Reading("funding_predicted", time, (float(said["fundingRate"]), following // 1000))
        if said.get("markPrice"):
            yield Reading("mark", time, (float(said["markPrice"]), float(said.get("indexPrice") or _NAN)))

    def _paid(self, symbol: str) -> list[Reading]:
        found = self._exchange.fetch_funding_rate_history(symbol, limit=_PAYMENTS)
        rows = sorted(found, key=lambda row: row["timestamp"])
        times = [row["timestamp"] * MS for row in rows]
        if len(times) < 2:
            return []
        intervals = funding_intervals(np.array(times, np.int64))
        return [
            Reading("funding", time, (float(row["fundingRate"]), float(interval)))
            for time, row, interval in zip(times, rows, intervals, strict=True)
        ]

    def _interest(self, symbol: str) -> list[Reading]:
        if not self._exchange.has.get("fetchOpenInterest"):
            return []
        said = self._exchange.fetch_open_interest(symbol)
        amount, value = said.get("openInterestAmount"), said.get("openInterestValue")
        return [Reading("open_interest", self._time(said), (_number(amount), _number(value)))]

    def _positions(self, symbol: str) -> list[Reading]:
        if self._exchange.has.get("fetchLongShortRatioHistory") is not True:
            return []
        rows = self._exchange.fetch_long_short_ratio_history(symbol, "5m", limit=1)
        return [Reading("positioning", self._time(row), (_number(row.get("longShortRatio")),)) for row in rows]

    def _time(self, said: Mapping[str, Any]) -> int:
        """The venue's own stamp; without one the moment of the answer on this machine's clock."""
        return int(said.get("timestamp") or self._exchange.milliseconds()) * MS


def _number(value: Any) -> float:
    return _NAN if value is None else float(value)


@contextmanager
def _mapped(venue: str) -> Iterator[None]:
    try:
        yield
    except (ccxt.RateLimitExceeded, ccxt.DDoSProtection) as error:
        raise TransientError(f"{venue} asks for fewer requests; poll less often", retry_after_s=60) from error
    except ccxt.NetworkError as error:
        reason = type(error).__name__
        raise TransientError(f"{venue} cannot be reached ({reason}); try again", retry_after_s=5) from error
    except ccxt.BaseError as error:
        raise VenueError(f"{venue} refused: {str(error)[:300]}") from error
