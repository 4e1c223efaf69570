"""The stored state: one instrument's features with the times of each group, and the bytes in which bots read them.

The feature store writes it with every push and bots read it back with one request; `masked` is the one place where a
group counts as too old, whichever way it was read. A group has two times: `known_at`, when its row was computed, and
`event_time`, that of the newest fact inside (0: none yet). Bytes of another version, schema or checksum are refused,
never guessed at.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptoai.core.clock import SECOND
from cryptoai.core.config import FeaturesConfig
from cryptoai.core.errors import DataError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema

__all__ = [
    "COMPUTED_GROUPS",
    "SIZE",
    "VERSION",
    "Limits",
    "StoredState",
    "ages",
    "limits",
    "masked",
    "newest_in",
    "pack",
    "stored",
    "unpack",
]

VERSION = 1
"""Of the layout below; another one is refused."""

COMPUTED_GROUPS = ("asset",)
"""Groups made from the registry and the clock: they have no feed that could fall silent, only a row that grows old."""

Limits = Mapping[str, int]
"""Largest age of each stored group in ns, inclusive."""

_GROUPS = len(schema.STORED_GROUPS)
_PLACES = tuple(schema.group_slice(group) for group in schema.STORED_GROUPS)
_HEAD = struct.Struct("<4sHH16s")
_BODY = struct.Struct(f"<{_GROUPS}q{_GROUPS}q{4 * schema.WIDTH}s{schema.WIDTH}s")
_START = _HEAD.pack(b"CAFS", VERSION, schema.WIDTH, bytes.fromhex(schema.SCHEMA_HASH))
_BIG = struct.Struct(">q")
_CRC = struct.Struct("<I")
_AT = len(_START) + _BIG.size
SIZE = _AT + _BODY.size + _CRC.size
"""Bytes of a packed state."""


@dataclass(frozen=True, slots=True)
class StoredState:
    """Features of `instrument`; known_at and event_times in ns, one a stored group, in their order; 0 = there is none.

    values and mask as in `StateVector`; the portfolio group is not stored.
    """

    instrument: str
    known_at: tuple[int, ...]
    event_times: tuple[int, ...]
    values: bytes
    mask: bytes

    @property
    def newest(self) -> int:
        """When the newest of its rows was computed."""
        return max(self.known_at)


def limits(config: FeaturesConfig) -> dict[str, int]:
    """The largest age of each stored group: its own where its facts are slow, else `max_age_s`."""
    own = {
        "derivatives": config.derivatives_max_age_s,
        "onchain": config.onchain_max_age_s,
        "events": config.events_max_age_s,
    }
    return {group: int(own.get(group, config.max_age_s) * SECOND) for group in schema.STORED_GROUPS}


def stored(state: StateVector, group_times: Mapping[str, int] | None = None) -> StoredState:
    """`state` as the store keeps it; `group_times` are the event times of the groups that have their own."""
    if state.schema_hash != schema.SCHEMA_HASH:
        raise DataError(f"a state of schema {state.schema_hash} cannot be stored as {schema.SCHEMA_HASH}")
    own = group_times or {}
    values, mask = bytearray(state.values), bytearray(state.mask)
    _clear(values, mask, schema.group_slice("portfolio"))
    event_times = tuple(own.get(group, state.event_time) for group in schema.STORED_GROUPS)
    return StoredState(state.instrument, (state.known_at,) * _GROUPS, event_times, bytes(values), bytes(mask))


def pack(state: StoredState) -> bytes:
    """`SIZE` bytes. Bytes 24 to 31 are the newest known_at, big-endian, so that stores can compare without decoding."""
    body = _START + _BIG.pack(state.newest) + _BODY.pack(*state.known_at, *state.event_times, state.values, state.mask)
    return body + _CRC.pack(zlib.crc32(body))


def newest_in(blob: bytes) -> int:
    """The newest known_at of a packed state."""
    return int(_BIG.unpack_from(blob, len(_START))[0])


def unpack(instrument: str, blob: bytes) -> StoredState:
    """The state of `instrument`; DataError if the bytes are damaged, or of another version or schema."""
    if len(blob) != SIZE or blob[: len(_START)] != _START:
        raise DataError(f"the stored state of {instrument} has another layout or schema; push its features again")
    if zlib.crc32(blob[: -_CRC.size]) != _CRC.unpack_from(blob, SIZE - _CRC.size)[0]:
        raise DataError(f"the stored state of {instrument} is damaged (checksum); push its features again")
    *times, values, mask = _BODY.unpack_from(blob, _AT)
    return StoredState(instrument, tuple(times[:_GROUPS]), tuple(times[_GROUPS:]), values, mask)


def masked(state: StoredState, now_ns: int, allowed: Limits) -> StateVector:
    """What may be used at `now_ns`: groups from the future, or whose row or feed is older than allowed, are missing."""
    good = [_usable(state, k, now_ns, allowed[group]) for k, group in enumerate(schema.STORED_GROUPS)]
    known = max((known for known, ok in zip(state.known_at, good, strict=True) if ok), default=0)
    event = max((event for event, ok in zip(state.event_times, good, strict=True) if ok), default=0)
    if all(good):
        return StateVector(state.instrument, event, known, schema.SCHEMA_HASH, state.values, state.mask)
    values, mask = bytearray(state.values), bytearray(state.mask)
    for place, ok in zip(_PLACES, good, strict=True):
        if not ok:
            _clear(values, mask, place)
    return StateVector(state.instrument, event, known, schema.SCHEMA_HASH, bytes(values), bytes(mask))


def ages(state: StoredState, now_ns: int) -> dict[str, float]:
    """Seconds since the newest fact of each group became true, infinite where there is none; what limits are about."""
    return {group: _age(state, k, now_ns) for k, group in enumerate(schema.STORED_GROUPS)}


def _usable(state: StoredState, k: int, now_ns: int, allowed: int) -> bool:
    known, event = state.known_at[k], state.event_times[k]
    row = known > 0 and 0 <= now_ns - known <= allowed
    return row and (schema.STORED_GROUPS[k] in COMPUTED_GROUPS or (event > 0 and now_ns - event <= allowed))


def _age(state: StoredState, k: int, now_ns: int) -> float:
    computed = schema.STORED_GROUPS[k] in COMPUTED_GROUPS
    since = state.known_at[k] if computed else min(state.known_at[k], state.event_times[k])
    return (now_ns - since) / SECOND if since > 0 else float("inf")


def _clear(values: bytearray, mask: bytearray, place: slice) -> None:
    values[4 * place.start : 4 * place.stop] = bytes(4 * (place.stop - place.start))
    mask[place] = bytes(place.stop - place.start)
