"""The state vector on the wire: packed float32, a mask and the hash of the schema that gives it meaning.

Made by `data_universe`, stored by the feature store, read by the model, hashed into the journal.
Plain bytes, so that the deterministic island needs no array library to carry it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash

__all__ = ["StateVector"]

_LARGEST = 3.4028234663852886e38  # of float32


@dataclass(frozen=True, slots=True)
class StateVector:
    """What is known of `instrument` at `known_at`.

    values: little-endian float32, 4 bytes a feature; a missing feature is stored as 0.0.
    mask:   one byte a feature, 1 = present, 0 = missing.
    event_time, known_at: ns UTC; event_time is that of the newest fact inside.
    """

    instrument: str
    event_time: int
    known_at: int
    schema_hash: str
    values: bytes
    mask: bytes

    def __post_init__(self) -> None:
        if len(self.values) != 4 * len(self.mask):
            raise DataError(
                f"state has {len(self.values)} value bytes for {len(self.mask)} mask bytes; it needs 4 each"
            )
        if self.mask.translate(None, b"\x00\x01"):
            raise DataError("a state's mask holds a byte that is neither 0 (missing) nor 1 (present)")

    @classmethod
    def of(
        cls, instrument: str, times: tuple[int, int], schema_hash: str, values: list[float], mask: list[bool]
    ) -> StateVector:
        """Packs `values`; what is masked or no finite float32 becomes a masked 0.0; times are (event, known_at)."""
        if len(values) != len(mask):
            raise DataError(f"state has {len(values)} values for {len(mask)} mask entries; it needs one each")
        kept = [bool(m) and abs(v) <= _LARGEST for v, m in zip(values, mask, strict=True)]
        packed = struct.pack(f"<{len(values)}f", *(v if k else 0.0 for v, k in zip(values, kept, strict=True)))
        return cls(instrument, times[0], times[1], schema_hash, packed, bytes(kept))

    @property
    def width(self) -> int:
        return len(self.mask)

    def floats(self) -> list[float]:
        """The values as floats; a masked one is 0.0."""
        return list(struct.unpack(f"<{self.width}f", self.values))

    def present(self) -> list[bool]:
        return [bool(byte) for byte in self.mask]

    def hash(self) -> str:
        """32 hex digits over schema, times, values and mask: what the journal calls the state."""
        head = f"{self.instrument}|{self.event_time}|{self.known_at}|{self.schema_hash}|".encode()
        return content_hash(head + self.values + self.mask, 32)
