"""The journal carries any JSON body and notices any other edit of it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoai.core.errors import DataError
from cryptoai.core.journal import GENESIS, decode, encode

SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BODY = st.dictionaries(st.text(max_size=8), JSON, max_size=5)


@given(st.integers(0, 2**40), st.integers(0, 2**62), st.text(max_size=12), BODY)
def test_any_body_round_trips(seq: int, time: int, kind: str, body: dict[str, Any]) -> None:
    """What was appended is what is read, bit for bit."""
    record, line = encode(seq, time, kind, body, GENESIS)
    assert decode(line, seq, GENESIS) == record
    assert json.dumps(record.body, sort_keys=True) == json.dumps(body, sort_keys=True)
    assert line.count(b"\n") == 1


@given(BODY, st.data())
def test_any_edit_of_a_line_is_found(body: dict[str, Any], data: st.DataObject) -> None:
    """Replacing, deleting or inserting a byte anywhere never yields a record."""
    _, line = encode(0, 1, "decision", body, GENESIS)
    at = data.draw(st.integers(0, len(line) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    for changed in (line[:at] + byte + line[at + 1 :], line[:at] + line[at + 1 :], line[:at] + byte + line[at:]):
        if changed != line:
            with pytest.raises(DataError):
                decode(changed, 0, GENESIS)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_record_or_a_data_error(line: bytes) -> None:
    """No input makes the reader fail in another way."""
    with contextlib.suppress(DataError):
        decode(line, 0, GENESIS)
