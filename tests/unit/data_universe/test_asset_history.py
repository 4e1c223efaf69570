"""The registry as of a moment: versions, listings, and what an update changes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.core.money import Money
from cryptoai.data_universe.asset_registry.history import Registry, Version
from cryptoai.data_universe.asset_registry.registry import INSTRUMENTS, REGISTRY_FILE, of_lake

PERP = INSTRUMENTS["binance_usdm:BTCUSDT"]
NOON = 1_723_118_400_000_000_000
LATER = NOON + 86_400_000_000_000


def coin(**changes: object) -> Instrument:
    return PERP.model_copy(update={"id": "binance_usdm:NEWUSDT", "base": "NEW", "listed": NOON} | changes)


def of(*versions: tuple[int, Instrument]) -> Registry:
    return Registry(Version(valid_from=at, source="test", instrument=made) for at, made in versions)


def test_a_tick_is_the_one_of_its_time() -> None:
    """A change of the tick does not reach back."""
    finer = coin(tick=Decimal("0.01"))
    known = of((NOON, coin()), (LATER, finer))
    assert known.instrument(finer.id, LATER - 1).tick == Decimal("0.1")
    assert known.instrument(finer.id, LATER).tick == Decimal("0.01")
    assert known.instrument(finer.id).tick == Decimal("0.01")
    assert [v.valid_from for v in known.history(finer.id)] == [NOON, LATER]


def test_an_asset_does_not_exist_before_it_is_listed() -> None:
    """Nor after it is delisted; the list of a moment holds only what could be traded then."""
    known = of((NOON, coin(delisted=LATER)))
    for at, why in ((NOON - 1, "not listed before 2024-08-08T12:00:00"), (LATER, "delisted at 2024-08-09T12:00:00")):
        with pytest.raises(DataError, match=why):
            known.instrument("binance_usdm:NEWUSDT", at)
        assert not known.known(at)
    assert list(known.known(NOON)) == ["binance_usdm:NEWUSDT"]
    assert known.instrument("binance_usdm:NEWUSDT").delisted == LATER


def test_before_the_first_version_the_first_speaks() -> None:
    """Back to the listing: venues do not publish what a tick was before anybody looked."""
    assert of((LATER, coin())).instrument("binance_usdm:NEWUSDT", NOON) == coin()


def test_an_update_says_what_is_new_changed_and_gone() -> None:
    """And a second one with the same descriptions changes nothing at all."""
    other = coin(id="binance_usdm:OLDUSDT")
    venue = frozenset({"binance_usdm"})
    before = of((NOON, coin()), (NOON, other))
    after, changes = before.updated(
        [coin(tick=Decimal("0.01")), coin(id="binance_usdm:XUSDT")], LATER, "binance", complete=venue
    )
    assert (changes.added, changes.changed, changes.gone) == (
        ["binance_usdm:XUSDT"],
        ["binance_usdm:NEWUSDT"],
        ["binance_usdm:OLDUSDT"],
    )
    assert sorted(after.known(LATER)) == ["binance_usdm:NEWUSDT", "binance_usdm:XUSDT"]
    again, none = after.updated(list(after.known(LATER).values()), LATER + 1, "binance", complete=venue)
    assert (none.added, none.changed, none.gone) == ([], [], [])
    assert [again.history(name) for name in again.ids] == [after.history(name) for name in after.ids]


def test_another_venue_is_left_alone() -> None:
    """A list of Bybit says nothing of Binance."""
    _, changes = Registry.packaged().updated([], NOON, "bybit", complete=frozenset({"bybit_linear"}))
    assert changes.gone == []


def test_silence_is_not_a_change() -> None:
    """Brackets, tiers and dates that a source does not publish stay; leverage is not lowered by not knowing."""
    bare = PERP.model_copy(update={"brackets": (), "fee_tiers": (), "listed": None, "max_leverage": 1})
    _, changes = Registry.packaged().updated([bare], NOON, "binance")
    assert changes.changed == []


def test_what_comes_back_is_listed_again() -> None:
    """A contract that was gone and returns exists from its new listing on."""
    gone, _ = of((NOON, coin())).updated([], LATER, "binance", complete=frozenset({"binance_usdm"}))
    back, changes = gone.updated([coin(listed=LATER + 5)], LATER + 5, "binance")
    assert changes.changed == ["binance_usdm:NEWUSDT"]
    assert not back.known(LATER + 4)
    assert back.known(LATER + 5)


def test_a_clock_that_went_back_is_refused() -> None:
    """Versions are appended in time."""
    with pytest.raises(DataError, match="clock went back"):
        of((LATER, coin())).updated([coin(tick=Decimal(1))], NOON, "binance")


def test_the_file_holds_every_version(tmp_path: Path) -> None:
    """What is written reads back beside the packaged instruments, and no temporary file stays."""
    known, _ = Registry.packaged().updated([coin(), PERP.model_copy(update={"min_notional": Money(50)})], NOON, "test")
    known.write(tmp_path / REGISTRY_FILE)
    read = of_lake(tmp_path)
    assert [read.history(name) for name in read.ids] == [known.history(name) for name in known.ids]
    assert read.instrument(PERP.id, NOON - 1).min_notional == Money(100)
    assert [path.name for path in tmp_path.iterdir()] == [REGISTRY_FILE]


@pytest.mark.parametrize("line", ["{", '{"valid_from": 1, "source": "x", "instrument": {}}', '{"valid_from": "no"}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    """The whole file is refused, with the number of the line."""
    (tmp_path / REGISTRY_FILE).write_text(line + "\n")
    with pytest.raises(DataError, match=r"registry\.jsonl line 1"):
        of_lake(tmp_path)


def test_a_lake_without_a_file_knows_the_packaged(tmp_path: Path) -> None:
    """The defaults need no update; ETHUSDT's perpetual takes orders from 20 USDT."""
    assert of_lake(tmp_path).instrument("binance_usdm:ETHUSDT").min_notional == Money(20)
    with pytest.raises(DataError, match=r"NOPE.*known: binance_coinm"):
        of_lake(tmp_path).instrument("binance_usdm:NOPE")


@pytest.mark.parametrize("name", ["binance_usdm:BTCUSDT", "binance_usdm:ETHUSDT", "binance_coinm:BTCUSD_PERP"])
def test_packaged_brackets_are_continuous(name: str) -> None:
    """At each border both brackets ask for the same margin, and leverage never allows less than it."""
    made = INSTRUMENTS[name]
    for low, high in zip(made.brackets, made.brackets[1:], strict=False):
        assert low.maintenance(low.cap) == high.maintenance(high.floor)
    assert all(row.maintenance_rate * row.max_leverage <= 1 for row in made.brackets)
    assert made.brackets[0].max_leverage == made.max_leverage
