"""On-chain metrics from a JSON API, with the paging, limits and failures that such APIs have.

The dialect is that of Coin Metrics' API v4 (`/timeseries/asset-metrics`), which others can speak too: GET with
`assets`, `metrics`, `frequency` (1d, 1b), `start_time`, `end_time`, `page_size`; the answer is `{"data": [{"asset",
"time", metric: "number"}], "next_page_url": ...}`. Made by `cryptoai data onchain fetch`. It follows no redirect and no
page that lies on another host, and holds one page at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import MappingProxyType

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from cryptoai.core.clock import SECOND, Clock, iso
from cryptoai.core.errors import ConfigError, DataError, TransientError
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.onchain.metrics import METRICS, metric
from cryptoai.data_universe.onchain.records import Record, Wanted, assemble

__all__ = ["COIN_METRICS", "HttpOnChain", "Patience"]

_PAGE_BYTES = 32 * 1024 * 1024
_PAGES = 10_000
_PATH = "/timeseries/asset-metrics"


COIN_METRICS: Mapping[str, str] = MappingProxyType(
    {
        "transactions": "TxCnt",
        "active_addresses": "AdrActCnt",
        "fees": "FeeTotUSD",
        "hash_rate": "HashRate",
        "transfer_value": "TxTfrValAdjUSD",
        "exchange_inflow": "FlowInExUSD",
        "exchange_outflow": "FlowOutExUSD",
        "difficulty": "DiffLast",
        "market_value": "CapMrktCurUSD",
        "realised_value": "CapRealUSD",
        "sopr": "SOPR",
        "price": "PriceUSD",
    }
)
"""Our metrics in the words of Coin Metrics; their units are ours."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often to try. Waits double from half a second, or are what `Retry-After` says."""

    timeout_s: float = 10.0
    attempts: int = 5
    longest_wait_s: float = 60.0
    page_size: int = 1000
    sleep: Callable[[float], None] = time.sleep


class _Page(BaseModel):
    """One answer; other keys are allowed and not read."""

    data: list[dict[str, str | int | float | None]]
    next_page_url: str | None = None


class HttpOnChain:
    """`OnChainSource` at `base_url`.

    `names` maps our metrics to the provider's; a metric that is not in it is asked for by our name.
    """

    def __init__(
        self,
        base_url: str,
        clock: Clock,
        *,
        names: Mapping[str, str] | None = None,
        token: str = "",
        patience: Patience | None = None,
    ) -> None:
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"on-chain URL {base_url!r} is not like https://host/v4; correct it")
        self._names = dict(names or {})
        self._clock, self._patience = clock, patience or Patience()
        self._origin = (url.scheme, url.host, url.port)
        self._start = str(url).rstrip("/") + _PATH
        self._refused: Mapping[str, int] = MappingProxyType({})
        headers = {"accept": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        timeout = self._patience.timeout_s
        self._client = httpx.Client(timeout=timeout, headers=headers, follow_redirects=False, trust_env=False)

    @property
    def refused(self) -> Mapping[str, int]:
        return self._refused

    def read(self, asset: str, metrics: Sequence[str], start: int, stop: int) -> Facts:
        """See `OnChainSource.read`. `ConfigError` if the provider does not take the token or does not know a metric."""
        wanted = Wanted.of(asset, metrics, start, stop, self._clock.now_ns())
        answer = assemble(self._records(wanted), wanted)
        self._refused = answer.refused
        return answer.facts

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _records(self, wanted: Wanted) -> Iterator[Record]:
        for cadence, frequency in (("day", "1d"), ("block", "1b")):
            ours = sorted(name for name in wanted.metrics if METRICS[metric(name)].cadence == cadence)
            if ours and wanted.stop > wanted.start:
                yield from self._pages(wanted, ours, frequency)

    def _pages(self, wanted: Wanted, ours: Sequence[str], frequency: str) -> Iterator[Record]:
        theirs = {self._names.get(name, name): name for name in ours}
        query = {
            "assets": wanted.asset.lower(),
            "metrics": ",".join(theirs),
            "frequency": frequency,
            "start_time": iso(wanted.start),
            "end_time": iso(wanted.stop - 1),
            "page_size": str(self._patience.page_size),
        }
        url: str | None = str(httpx.URL(self._start, params=query))
        seen: set[str] = set()
        while url is not None:
            if url in seen or len(seen) >= _PAGES:
                raise DataError(f"{self._origin[1]} sends its pages in a circle or without an end; ask for less")
            seen.add(url)
            page = self._page(url)
            for row in page.data:
                yield {theirs.get(name, name): value for name, value in row.items()}
            url = self._next(page)

    def _next(self, page: _Page) -> str | None:
        if not page.next_page_url:
            return None
        url = httpx.URL(page.next_page_url)
        if (url.scheme, url.host, url.port) != self._origin:
            raise DataError(
                f"{self._origin[1]} points to another host ({url.host}) for its next page; that is not followed"
            )
        return str(url)

    def _page(self, url: str) -> _Page:
        """One page, tried again while that may help."""
        attempt = 1
        while True:
            try:
                return self._once(url)
            except TransientError as error:
                if attempt >= self._patience.attempts or error.retry_after_s > self._patience.longest_wait_s:
                    raise
                wait = max(error.retry_after_s, 0.5 * 2 ** (attempt - 1))
                self._patience.sleep(min(wait, self._patience.longest_wait_s))
                attempt += 1

    def _once(self, url: str) -> _Page:
        host = self._origin[1]
        try:
            with self._client.stream("GET", url) as response:
                body = _limited(response, host)
        except httpx.TransportError as error:
            reason = type(error).__name__
            raise TransientError(f"on-chain source {host} did not answer ({reason})", retry_after_s=0.0) from error
        self._refuse(response)
        try:
            return _Page.model_validate(orjson.loads(body))
        except (orjson.JSONDecodeError, ValidationError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": ("body",), "msg": "no JSON"}
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(f"the answer of {host} is not as agreed: {where}: {first['msg']}") from error

    def _refuse(self, response: httpx.Response) -> None:
        """Raises what a status means."""
        host, status = self._origin[1], response.status_code
        if status == 429 or status >= 500:
            wait = self._retry_after(response.headers.get("retry-after"))
            raise TransientError(f"on-chain source {host} answered {status}; try again later", retry_after_s=wait)
        if status in (401, 403):
            raise ConfigError(f"{host} answered {status}; give a token that it takes in CRYPTOAI_ONCHAIN_TOKEN")
        if status != 200:
            raise DataError(f"{host} answered {status}; look at the URL, the asset and the metric names")

    def _retry_after(self, text: str | None) -> float:
        """Seconds from the header: a number or an HTTP date (RFC 9110, 10.2.3); 0 if it is neither."""
        if text is None:
            return 0.0
        try:
            return max(0.0, float(text))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._clock.now_ns() / SECOND)
        except ValueError:
            return 0.0


def _limited(response: httpx.Response, host: str) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > _PAGE_BYTES:
            raise DataError(f"a page of {host} is larger than {_PAGE_BYTES >> 20} MiB; ask for a smaller page_size")
    return bytes(body)
