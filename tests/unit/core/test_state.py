"""The state vector on the wire: packing, masking, hashing."""

from __future__ import annotations

import dataclasses
import struct

import pytest

from cryptoai.core.errors import DataError
from cryptoai.core.state import StateVector

HERE = "binance_usdm:BTCUSDT"


def state(values: list[float], mask: list[bool] | None = None) -> StateVector:
    return StateVector.of(HERE, (5, 6), "schema", values, [True] * len(values) if mask is None else mask)


def test_pack_and_unpack() -> None:
    """Values that float32 can hold come back equal, in order."""
    made = state([0.5, -1.25, 3.0])
    assert made.floats() == [0.5, -1.25, 3.0]
    assert made.present() == [True, True, True]
    assert made.width == 3
    assert made.values == struct.pack("<3f", 0.5, -1.25, 3.0)
    assert (made.event_time, made.known_at) == (5, 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e39, -1e300])
def test_what_is_no_finite_float32_is_missing(value: float) -> None:
    """NaN, infinities and numbers beyond float32 become a masked zero, not a poisoned input."""
    made = state([1.0, value])
    assert made.present() == [True, False]
    assert made.floats() == [1.0, 0.0]


def test_the_largest_float32_is_kept() -> None:
    """The bound is float32's own."""
    assert state([3.4028234663852886e38]).present() == [True]


def test_a_masked_value_is_not_carried() -> None:
    """What is missing is stored as zero, so that two states missing it are equal."""
    assert state([7.0, 1.0], [False, True]) == state([8.0, 1.0], [False, True])


@pytest.mark.parametrize(("values", "mask"), [([1.0], [True, True]), ([1.0, 2.0], [True]), ([], [True])])
def test_lengths_must_agree(values: list[float], mask: list[bool]) -> None:
    """One mask entry a value."""
    with pytest.raises(DataError, match="needs one each"):
        state(values, mask)


def test_bytes_must_agree() -> None:
    """A state built from bytes is checked too."""
    with pytest.raises(DataError, match="needs 4 each"):
        StateVector(HERE, 1, 2, "s", b"\0" * 7, b"\1\1")
    with pytest.raises(DataError, match="neither 0"):
        StateVector(HERE, 1, 2, "s", b"\0" * 8, b"\1\2")


def test_hash_covers_everything() -> None:
    """A change of any field or of any byte is another state."""
    made = state([0.5, 2.0, 4.0])
    changed = [
        dataclasses.replace(made, instrument="binance_spot:BTCUSDT"),
        dataclasses.replace(made, event_time=4),
        dataclasses.replace(made, known_at=7),
        dataclasses.replace(made, schema_hash="other"),
    ]
    for position in range(len(made.values)):
        raw = bytearray(made.values)
        raw[position] ^= 1
        changed.append(dataclasses.replace(made, values=bytes(raw)))
    changed += [dataclasses.replace(made, mask=mask) for mask in (b"\0\1\1", b"\1\0\1", b"\1\1\0")]
    hashes = {other.hash() for other in changed} | {made.hash()}
    assert len(hashes) == len(changed) + 1
    assert made.hash() == state([0.5, 2.0, 4.0]).hash()
    assert len(made.hash()) == 32


def test_a_state_never_changes() -> None:
    """What was decided on stays what it was."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        state([1.0]).known_at = 9  # type: ignore[misc]
