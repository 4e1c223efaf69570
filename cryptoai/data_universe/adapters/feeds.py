"""Bytes of a news feed: from a file, or from a URL with a limit on size, time and redirects.

Made by `cryptoai data news`. It fetches exactly the address that a person gave, follows no redirect to another host,
and reads nothing that a feed points to.
"""

from __future__ import annotations

from pathlib import Path

import httpx

from cryptoai.core.errors import ConfigError, DataError, TransientError
from cryptoai.data_universe.market_events.items import MOST_BYTES

__all__ = ["read_feed"]

_HOPS = 3
_ACCEPT = "application/rss+xml, application/atom+xml, application/xml, application/x-ndjson, text/xml;q=0.9"


def read_feed(place: str, timeout_s: float = 10.0) -> bytes:
    """What lies at a path or http(s) address, at most 16 MiB.

    Raises `TransientError` if another try may help, `DataError` if it is too large or not there, `ConfigError` for an
    address of another kind.
    """
    if "://" not in place:
        return _file(Path(place))
    url = httpx.URL(place)
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"feed address {place!r} is not a path and not like https://host/feed.xml; correct it")
    headers = {"accept": _ACCEPT, "user-agent": "cryptoai"}
    with httpx.Client(timeout=timeout_s, headers=headers, follow_redirects=False, trust_env=False) as client:
        return _fetch(client, url)


def _file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is larger than {MOST_BYTES >> 20} MiB; split it")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _fetch(client: httpx.Client, url: httpx.URL) -> bytes:
    first = url.host
    for _ in range(_HOPS + 1):
        try:
            with client.stream("GET", url) as response:
                if not response.has_redirect_location:
                    return _body(response)
                url = url.join(response.headers["location"])
        except httpx.TransportError as error:
            raise TransientError(f"{first} did not answer ({type(error).__name__}); try again") from error
        except httpx.InvalidURL as error:
            raise DataError(f"{first} redirects to an address that cannot be read") from error
        if url.host != first or url.scheme not in ("http", "https"):
            raise DataError(f"{first} redirects to another host ({url.host}); give that address if you trust it")
    raise DataError(f"{first} redirects more than {_HOPS} times; give the address of the feed itself")


def _body(response: httpx.Response) -> bytes:
    host, status = response.url.host, response.status_code
    if status == 429 or status >= 500:
        raise TransientError(f"{host} answered {status}; try again later", retry_after_s=60)
    if status != 200:
        raise DataError(f"{host} answered {status}; look at the address of the feed")
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MOST_BYTES:
            raise DataError(f"{host} sends more than {MOST_BYTES >> 20} MiB; that is no feed")
    return bytes(body)
