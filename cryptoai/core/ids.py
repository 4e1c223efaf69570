"""Names of things: instruments and orders. Deterministic, so that a resend is the same order.

Used by every layer. An id never carries a secret and never depends on the wall clock.
"""

from __future__ import annotations

import hashlib
import re

from cryptoai.core.errors import DataError

__all__ = ["CLIENT_ORDER_PREFIX", "client_order_id", "content_hash", "parse_instrument"]

CLIENT_ORDER_PREFIX = "cai-"
_INSTRUMENT = re.compile(r"[a-z0-9_]+:[A-Z0-9_.\-]+")


def parse_instrument(instrument: str) -> tuple[str, str]:
    """`binance_usdm:BTCUSDT` -> (venue, symbol)."""
    if not _INSTRUMENT.fullmatch(instrument):
        raise DataError(f"instrument {instrument!r} is not venue:SYMBOL, for example binance_usdm:BTCUSDT")
    venue, symbol = instrument.split(":", 1)
    return venue, symbol


def client_order_id(bot: str, revision: str, decision: int, instrument: str) -> str:
    """At most 36 characters of [a-z0-9-], equal for equal arguments (invariant 5)."""
    return CLIENT_ORDER_PREFIX + content_hash(f"{bot}|{revision}|{decision}|{instrument}".encode(), 32)


def content_hash(data: bytes, length: int = 64) -> str:
    """The first `length` hex digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:length]
