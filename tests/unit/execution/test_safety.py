"""The kill switch in the loop: it engages, flattens, verifies, holds, and is released by a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptoai.core.messages import Side
from cryptoai.core.money import Money, Quantity
from cryptoai.risk_engine.kill_switch import KillSwitch
from cryptoai.testing.fakes import FakeVenue, approved_order, make_inference, make_instrument, make_quote

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NAME = "fake:BTCUSDT"
Worlds = Callable[..., Any]
BOLD = {
    "risk": {
        "max_position_pct": 1.0,
        "max_correlated_pct": 20.0,
        "max_volatility_pct": 0.5,
        "depth_share": 1.0,
        "stop_loss_pct": 0.5,
        "max_tail_loss_pct": 0.5,
    }
}
FALL = ["100", "100", "100", "88", *["88"] * 10]


def test_drawdown_kills_flattens_and_verifies(world: Worlds, tmp_path: Path) -> None:
    """Twelve per cent down: kill record, critical alert, an IOC reduce-only order in the same step, flat verified."""
    switch = KillSwitch(tmp_path / "kill.json")
    bot = world(*FALL, overrides=BOLD, switch=switch, script=lambda _: 1.0)
    bot.run(3)
    assert [r.kind for r in bot.records() if r.time == START + 3 * SECOND][:2] == ["kill", "alert"]
    assert bot.bodies("kill")[0]["by"] == "risk engine"
    assert KillSwitch(tmp_path / "kill.json").engaged
    last = bot.bodies("order")[-1]
    assert (last["kind"], last["side"], last["reduce_only"]) == ("ioc", "sell", True)
    bot.run(8)
    assert bot.kernel.account.quantities() == {}
    assert bot.venue.positions(bot.now) == {}
    assert bot.alerts().count("kill") == 1
    assert bot.alerts().count("flat_verified") == 1
    assert [b["safe"] for b in bot.bodies("decision") if b["proposal"]["time"] > START + 3 * SECOND] == [
        "kill switch engaged"
    ] * 5
    assert bot.model.calls == 3


def test_flattening_goes_on_until_it_is_done(world: Worlds) -> None:
    """With little to take at the touch it takes several orders, all of them reducing."""
    quotes = [
        make_quote(make_instrument(), START + n * SECOND, "100" if n < 3 else "88", "10000" if n < 3 else "300")
        for n in range(14)
    ]
    bot = world(quotes=quotes, overrides=BOLD, script=lambda _: 1.0)
    bot.run(12)
    killed = bot.records("kill")[0].time
    orders = [b for b in bot.bodies("order") if b["time"] >= killed]
    assert len(orders) > 2
    assert all(b["reduce_only"] for b in orders)
    assert bot.venue.positions(bot.now) == {}
    assert "flat_verified" in bot.alerts()


def test_kill_cancels_what_is_open(world: Worlds, tmp_path: Path) -> None:
    """A person engages from outside: the resting order is cancelled, no new one is sent."""
    switch = KillSwitch(tmp_path / "kill.json")
    bot = world(switch=switch, script=lambda _: make_inference(0.5, timing=-1.0))
    bot.run(0.5)
    assert len(bot.venue.open_orders(bot.now)) == 1
    KillSwitch(tmp_path / "kill.json").engage("maintenance", "Ada", bot.now)
    bot.run(3)
    assert bot.bodies("kill") == [{"reason": "maintenance", "by": "Ada"}]
    assert bot.venue.open_orders(bot.now) == []
    assert len(bot.bodies("order")) == 1


def test_release_resumes_from_here(world: Worlds, tmp_path: Path) -> None:
    """After a person's release the drawdown counts from now, so that the old peak does not kill at once again."""
    path = tmp_path / "kill.json"
    daring = {"risk": BOLD["risk"] | {"max_daily_loss_pct": 0.9}}
    bot = world(*FALL, overrides=daring, switch=KillSwitch(path), script=lambda _: 1.0)
    bot.run(5)
    KillSwitch(path).release("looked at it", "Ada", bot.now)
    bot.run(9)
    assert bot.bodies("release") == [{"reason": "looked at it", "by": "Ada"}]
    assert len(bot.bodies("kill")) == 1
    assert bot.kernel.account.peak < Money(100_000)
    assert any(b["time"] > START + 5 * SECOND and not b["reduce_only"] for b in bot.bodies("order"))


def test_release_on_the_same_object_holds(world: Worlds) -> None:
    """A switch in memory that is released between two steps is not engaged again by the drawdown it forgave."""
    bot = world(*FALL, overrides=BOLD, script=lambda _: 0.0 if bot.bodies("release") else 1.0)
    bot.run(5)
    bot.switch.release("looked at it", "Ada", bot.now)
    bot.run(8)
    assert (len(bot.bodies("kill")), len(bot.bodies("release"))) == (1, 1)


def test_a_rest_only_the_venue_knows_is_flattened(world: Worlds) -> None:
    """The venue says 2 where the journal says 0: it is taken over, told, and sold."""
    bot = world(script=lambda _: 0.0)
    bot.run(0.5)
    bot.venue._positions[NAME] = Quantity(2)
    bot.switch.engage("test", "Ada", bot.now)
    bot.run(4)
    assert bot.venue.positions(bot.now) == {}
    assert bot.kernel.account.quantities() == {}
    assert "position_mismatch" in bot.alerts()
    assert bot.alerts()[-1] == "flat_verified"


def test_stop_loss_leaves_at_once(world: Worlds) -> None:
    """Two per cent against the entry the position is sold by an IOC order; the switch stays released."""
    bot = world("100", "100", "97", "97", script=lambda s: 0.5 if s.known_at < START + 2 * SECOND else 0.4)
    bot.run(2)
    last = bot.bodies("order")[-1]
    assert (last["kind"], last["reduce_only"], last["quantity"]) == ("ioc", True, "49.975")
    assert not bot.switch.engaged


def test_order_rate(world: Worlds) -> None:
    """After as many adding orders as a minute may have, only reducing ones are sent."""
    share = iter([0.1, 0.2, 0.3, 0.4, 0.5, 0.1])
    bot = world(script=lambda _: next(share), overrides={"risk": {"max_orders_per_minute": 3, "depth_share": 1.0}})
    bot.run(5)
    assert [b["reduce_only"] for b in bot.bodies("order")] == [False, False, False, True]


def test_an_unknown_position_blocks_at_start(world: Worlds) -> None:
    """The account at the venue is not empty: nothing is traded until a person accepts it, then it is ours."""
    bot = world(script=lambda _: 0.0)
    bot.venue._positions[NAME] = Quantity(3)
    bot.run(1)
    assert bot.bodies("order") == []
    assert bot.alerts() == ["unreconciled"]
    bot.kernel.accept("opened by hand", "Ada")
    assert bot.kernel.account.quantities() == {NAME: Quantity(3)}
    bot.run(3)
    assert bot.alerts() == ["unreconciled", "reconciliation_accepted"]
    assert [b["reduce_only"] for b in bot.bodies("order")] == [True]
    bot.restart()
    assert not bot.kernel.account.differences(bot.venue.positions(bot.now))


def test_a_foreign_order_blocks_and_ours_is_adopted(world: Worlds) -> None:
    """By its prefix an order is ours: it is taken over and expires; any other is left alone and blocks."""
    instrument = make_instrument()
    bot = world(script=lambda _: 0.0)
    bot.venue.submit(approved_order(instrument, Side.BUY, "1", "90", time=START), START - SECOND)
    bot.run(1.5)
    assert bot.alerts() == ["order_adopted", "reconciling"]
    assert bot.venue.open_orders(bot.now) == []
    other = world(script=lambda _: 0.5)

    class Shared(FakeVenue):
        def open_orders(self, now_ns: int) -> Any:
            mine = FakeVenue.open_orders(self, now_ns)
            request = approved_order(instrument, Side.BUY, "1", "90", time=START).request
            return [*mine, request.model_copy(update={"client_order_id": "web-1"})]

    other.kernel.venue = Shared(other.market, {NAME: instrument})
    other.run(1)
    assert other.kernel.blocked
    assert other.bodies("order") == []
