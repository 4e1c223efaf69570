"""The packed state: its bytes, its times, and the one rule of staleness."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.core.clock import SECOND
from cryptoai.core.config import FeaturesConfig
from cryptoai.core.errors import ConfigError, DataError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.hot_store import RedisAddress
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.freshness import Freshness
from cryptoai.data_universe.history import usable_rows
from cryptoai.data_universe.packed import SIZE, ages, limits, masked, newest_in, pack, stored, unpack

ALLOWED = limits(FeaturesConfig())
NOW = 1_700_000_000 * SECOND + 5


def state(known: int = NOW, event: int = NOW - 2) -> StateVector:
    return StateVector.of("v:S", (event, known), schema.SCHEMA_HASH, [0.25] * schema.WIDTH, [True] * schema.WIDTH)


@settings(max_examples=40)
@given(st.integers(0, 2**62), st.integers(0, 2**62), st.binary(min_size=200, max_size=200))
def test_what_is_packed_comes_back(known: int, event: int, bits: bytes) -> None:
    """Times to the nanosecond and every bit; the portfolio never travels."""
    mask = [byte % 2 == 1 for byte in bits]
    made = stored(StateVector.of("v:S", (event, known), schema.SCHEMA_HASH, [0.5] * 200, mask))
    blob = pack(made)

    assert unpack("v:S", blob) == made
    assert len(blob) == SIZE
    assert newest_in(blob) == known
    assert not any(made.mask[schema.group_slice("portfolio")])


def test_packed_times_sort_as_bytes() -> None:
    """Redis compares them without decoding."""
    earlier, later = (pack(stored(state(known))) for known in (2**40 - 1, 2**40))

    assert earlier[24:32] < later[24:32]


@pytest.mark.parametrize("place", [0, 5, 10, 30, 200, 1000, SIZE - 1])
def test_any_flipped_bit_is_noticed(place: int) -> None:
    """Magic, version, schema, times, values, mask, checksum."""
    blob = bytearray(pack(stored(state())))
    blob[place] ^= 4

    with pytest.raises(DataError, match="push its features again"):
        unpack("v:S", bytes(blob))


def test_another_schema_is_refused_though_its_checksum_is_right() -> None:
    """Columns of another meaning must not reach a model."""
    blob = bytearray(pack(stored(state())))
    blob[8] ^= 1
    blob[-4:] = zlib.crc32(bytes(blob[:-4])).to_bytes(4, "little")

    with pytest.raises(DataError, match="schema"):
        unpack("v:S", bytes(blob))
    with pytest.raises(DataError, match="schema"):
        stored(StateVector.of("v:S", (0, 0), "0" * 32, [0.0] * 200, [False] * 200))


@settings(max_examples=60)
@given(st.integers(-5, 5), st.integers(-5, 5), st.sampled_from(schema.STORED_GROUPS))
def test_the_rule_is_the_same_for_one_state_and_for_columns(row: int, feed: int, group: str) -> None:
    """Around both edges: the age of the row, the age of the facts."""
    limit = ALLOWED[group]
    known, event = NOW - limit + row, NOW - limit + feed
    single = masked(stored(state(known, 1), {group: event}), NOW, ALLOWED).present()[schema.group_slice(group)]
    columns = usable_rows(group, np.array([known]), np.array([event]), np.array([NOW]), limit)

    assert single == [bool(columns[0])] * len(single)


def test_a_row_from_the_future_is_not_used() -> None:
    """Nothing is known before it was."""
    seen = masked(stored(state()), NOW - 1, ALLOWED)

    assert (seen.known_at, seen.event_time, any(seen.present())) == (0, 0, False)


def test_the_age_of_a_feed_that_never_spoke_is_infinite() -> None:
    """It may not look fresh."""
    age = ages(stored(state(), {"onchain": 0, "events": NOW - 7 * SECOND}), NOW)

    assert age["onchain"] == float("inf")
    assert age["events"] == 7.0
    assert age["flow"] == pytest.approx(2e-9)


def test_group_times_follow_what_was_known() -> None:
    """Derivatives live by the market too, on-chain by its facts alone; none is true later than it was known."""
    chain = Facts.of("onchain", [10, 20], [100, 200], [[0.0, 1.0], [0.0, 2.0]])
    funding = Facts.of("funding", [150], [150], [[0.0001, 28_800.0]])
    found = Freshness((chain, funding)).times(np.array([99, 100, 160, 250]), np.array([90, 95, 140, 240]))

    assert {name: times.tolist() for name, times in found.items()} == {
        "onchain": [0, 10, 10, 20],
        "derivatives": [90, 95, 150, 240],
    }


@pytest.mark.parametrize("text", ["redis", "host:", "host:99999", ":1", "http://h:1", "redis://h"])
def test_an_address_that_is_none_is_named(text: str) -> None:
    """With the form that it should have."""
    with pytest.raises(ConfigError, match="host:port"):
        RedisAddress.parse(text)


def test_an_address_hides_its_password() -> None:
    """In its repr, and when the address is wrong."""
    full = RedisAddress.parse("rediss://bot:s3cret@cache:6380/2", ca="/ca.pem")

    assert (full.host, full.port, full.user, full.db, full.tls, full.ca) == ("cache", 6380, "bot", 2, True, "/ca.pem")
    assert full.password == "s3cret"
    assert "s3cret" not in repr(full)
    with pytest.raises(ConfigError) as said:
        RedisAddress.parse("redis://bot:s3cret@cache")
    assert "s3cret" not in str(said.value)
