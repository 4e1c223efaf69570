"""kill -9 at any point: the journal is readable, the bot goes on where it was, and no order is sent twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cryptoai.core.errors import DataError, InvariantError
from cryptoai.core.journal import Journal, read_journal
from cryptoai.core.messages import OrderStatus
from cryptoai.core.money import Money
from cryptoai.execution.replay import replay
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.risk_engine.kill_switch import KillSwitch
from cryptoai.testing.fakes import FakeVenue, make_instrument

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NAME = "fake:BTCUSDT"
LEVELS = ["100", "100.4", "99.8", "101", "100.2", "100"] * 4
Worlds = Callable[..., Any]


class PowerCutError(Exception):
    """The process ends here."""


def wave(state: Any) -> float:
    return (state.known_at // SECOND % 5 - 2) / 4


def test_resume_restores_everything(world: Worlds) -> None:
    """Account, orders, counters and the order rate are as they were."""
    bot = world(*LEVELS, script=wave)
    bot.run(12)
    old = bot.kernel
    bot.restart()
    new = bot.kernel
    assert new.account.observe(bot.now) == old.account.observe(bot.now)
    assert (new.account.peak, new.account.day_start) == (old.account.peak, old.account.day_start)
    assert new.account.realised == old.account.realised
    assert (new.decisions, new.fills) == (old.decisions, old.fills)
    assert [(o.request, o.status, o.filled) for o in new.orders] == [
        (o.request, o.status, o.filled) for o in old.orders
    ]
    assert new._around.adding == old._around.adding


def test_ids_go_on_after_a_restart(world: Worlds) -> None:
    """Decision numbers and order ids never repeat; the journal has a second start and stays one chain."""
    bot = world(*LEVELS, script=wave)
    bot.run(5)
    bot.restart()
    bot.run(12)
    numbers = [b["decision"] for b in bot.bodies("decision")]
    assert numbers == list(range(len(numbers)))
    ids = [b["client_order_id"] for b in bot.bodies("order")]
    assert len(ids) == len(set(ids))
    assert len(bot.bodies("start")) == 2
    assert bot.kernel.account.differences(bot.venue.positions(bot.now)) == {}


@pytest.mark.parametrize("arrived", [False, True])
def test_a_crash_between_journal_and_wire(world: Worlds, arrived: bool) -> None:
    """The order is in the journal and perhaps at the venue: after the restart it is looked up, never sent again."""

    class Cut(FakeVenue):
        sent = 0

        def submit(self, order: ApprovedOrder, now_ns: int) -> None:
            Cut.sent += 1
            if arrived or Cut.sent > 1:
                FakeVenue.submit(self, order, now_ns)
            if Cut.sent == 1:
                raise PowerCutError

    bot = world("100", *LEVELS, script=lambda _: 0.5)
    bot.venue = bot.kernel.venue = Cut(bot.market, {NAME: make_instrument()}, bot.latency)
    with pytest.raises(PowerCutError):
        bot.run(0)
    assert bot.records()[-1].kind == "order"
    bot.now += SECOND
    bot.restart()
    bot.run(1)
    first = bot.bodies("order")[0]["client_order_id"]
    if arrived:
        assert [b["client_order_id"] for b in bot.bodies("fill")] == [first]
        assert Cut.sent == 1
    else:
        lost = bot.bodies("update")[0]
        assert (lost["client_order_id"], lost["status"]) == (first, OrderStatus.CANCELLED)
        assert "does not know it" in lost["reason"]
        assert Cut.sent == 2
        assert bot.bodies("order")[1]["client_order_id"] != first
    bot.run(3.5)
    assert bot.kernel.account.differences(bot.venue.positions(bot.now)) == {}
    assert float(abs(bot.kernel.account.quantities()[NAME])) < 51


def test_a_cut_at_every_record(world: Worlds, tmp_path: Path) -> None:
    """However much of the journal is left, torn last line included, it resumes and adds up."""
    bot = world(*LEVELS, script=wave)
    bot.run(6)
    lines = bot.path.read_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        with Journal(path, durable=False) as journal:
            assert journal.next_seq == kept
        past = replay(read_journal(path), "bot", [make_instrument()], Money(100_000))
        decided = [n for n in range(kept) if b'"kind":"decision"' in lines[n]]
        assert past.decisions == len(decided)


def test_a_kill_survives_even_a_lost_switch_file(world: Worlds, tmp_path: Path) -> None:
    """The journal remembers: without a person's release since, the switch is engaged again."""
    bot = world(switch=KillSwitch(tmp_path / "one.json"), script=lambda _: 0.5)
    bot.run(1)
    bot.switch.engage("test", "Ada", bot.now)
    bot.run(3)
    bot.switch = KillSwitch(tmp_path / "two.json")
    bot.restart()
    assert bot.switch.engaged
    bot.run(4)
    assert len(bot.bodies("kill")) == 1


def test_a_release_while_it_was_down_counts(world: Worlds, tmp_path: Path) -> None:
    """A person released the switch between two processes: the bot says so and goes on."""
    path = tmp_path / "kill.json"
    bot = world(*LEVELS, switch=KillSwitch(path), script=lambda _: 0.5)
    bot.run(1)
    bot.switch.engage("test", "Ada", bot.now)
    bot.run(3)
    KillSwitch(path).release("checked", "Ada", bot.now)
    bot.switch = KillSwitch(path)
    bot.restart()
    bot.run(5)
    assert not bot.switch.engaged
    assert bot.bodies("release") == [{"reason": "checked", "by": "Ada"}]
    assert len(bot.bodies("kill")) == 1


def test_forgetting_to_resume_is_caught(world: Worlds) -> None:
    """A kernel that starts fresh on a venue that holds its position does not trade."""
    bot = world(*LEVELS, script=lambda _: 0.5)
    bot.run(2)
    bot.restart(resume=False)
    bot.kernel.step(bot.now)
    assert bot.kernel.blocked


def test_resume_comes_first(world: Worlds) -> None:
    """After a step it is too late."""
    bot = world()
    bot.run(0)
    with pytest.raises(InvariantError, match="before its first step"):
        bot.kernel.resume([])


def test_another_bots_journal_is_refused(world: Worlds) -> None:
    """A journal belongs to one bot."""
    bot = world()
    bot.run(1)
    with pytest.raises(DataError, match="belongs to bot bot"):
        replay(bot.records(), "other", [make_instrument()], Money(100_000))


def test_a_journal_that_does_not_add_up_is_refused(world: Worlds) -> None:
    """The same journal with another initial balance: the first equity record disagrees."""
    bot = world()
    bot.run(1)
    with pytest.raises(DataError, match="record 1 does not add up"):
        replay(bot.records(), "bot", [make_instrument()], Money(99_999))
