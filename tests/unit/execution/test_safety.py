"""The kill switch in the loop: it engages, flattens, verifies, holds, and is released by a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptoai.core.errors import DataError, TransientError
from cryptoai.core.messages import Side
from cryptoai.core.money import Money, Quantity
from cryptoai.risk_engine.kill_switch import KillAction, KillSwitch
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


def stages(bot: Any) -> list[str]:
    return [body["to"] for body in bot.bodies("emergency")]


def test_every_stage_is_journalled(world: Worlds) -> None:
    """From running to halted and back, each transition is a record."""
    bot = world(script=lambda _: 0.5)
    bot.run(1)
    bot.switch.engage("test", "Ada", bot.now)
    bot.run(4)
    assert stages(bot) == ["cancelling", "flattening", "verifying", "halted"]
    bot.switch.release("done", "Ada", bot.now)
    bot.run(4.2)
    assert bot.bodies("emergency")[-1] == {"from": "halted", "to": "running", "event": "released", "action": "flatten"}


def test_cancel_keeps_the_position_and_lets_it_shrink(world: Worlds) -> None:
    """The model goes on: what it adds is refused, what it reduces passes, at the touch like any order."""
    wanted = iter([0.5, 0.5, 0.9, 0.9, 0.3])
    bot = world(script=lambda _: next(wanted, 0.3), switch=KillSwitch())
    bot.run(1.5)
    held = bot.kernel.account.quantities()[NAME]
    bot.switch.engage("looking", "Ada", bot.now, KillAction.CANCEL)
    bot.run(3.5)
    assert stages(bot) == ["cancelling", "verifying", "halted"]
    assert bot.kernel.account.quantities() == {NAME: held}
    assert bot.alerts() == ["kill", "cancel_verified"]
    bot.run(5)
    last = bot.bodies("order")[-1]
    assert (last["reduce_only"], last["kind"]) == (True, "limit")
    assert Quantity.zero() < bot.kernel.account.quantities()[NAME] < held


def test_a_drawdown_makes_cancel_flatten(world: Worlds) -> None:
    """Kept positions that fall too far are closed after all."""
    bot = world(*FALL, overrides=BOLD, script=lambda _: 1.0)
    bot.run(1.5)
    bot.switch.engage("looking", "Ada", bot.now, KillAction.CANCEL)
    bot.run(8)
    assert bot.kernel.account.quantities() == {}
    assert bot.switch.state.action is KillAction.FLATTEN
    assert stages(bot)[-1] == "halted"
    assert bot.alerts()[-1] == "flat_verified"


def test_the_action_survives_a_restart(world: Worlds, tmp_path: Path) -> None:
    """From the journal alone: positions that were to be kept are not closed by a lost switch file."""
    bot = world(switch=KillSwitch(tmp_path / "one.json"), script=lambda _: 0.5)
    bot.run(1.5)
    bot.switch.engage("looking", "Ada", bot.now, KillAction.CANCEL)
    bot.run(3)
    bot.switch = KillSwitch(tmp_path / "two.json")
    bot.restart()
    bot.run(6)
    assert bot.switch.state.action is KillAction.CANCEL
    assert bot.kernel.account.quantities()


def test_nobody_releases_without_a_name(world: Worlds, tmp_path: Path) -> None:
    """A file that merely says released (a new one in the place of a lost one) is no release: it is engaged again."""
    path = tmp_path / "kill.json"
    bot = world(switch=KillSwitch(path), script=lambda _: 0.5)
    bot.run(1)
    bot.switch.engage("test", "Ada", bot.now)
    bot.run(3)
    path.write_text('{"engaged":false}')
    bot.run(5)
    assert bot.bodies("release") == []
    assert stages(bot)[-1] == "halted"
    assert KillSwitch(path).engaged


def test_a_venue_that_cannot_be_asked_verifies_nothing(world: Worlds) -> None:
    """It stays in VERIFYING, tells it once, and goes on when the venue answers."""
    down = [True]

    class Silent(FakeVenue):
        def positions(self, now_ns: int) -> dict[str, Quantity]:
            if down[0] and bot.switch.engaged:
                raise TransientError("no answer")
            return FakeVenue.positions(self, now_ns)

    bot = world(script=lambda _: 0.5)
    bot.kernel.venue = bot.venue = Silent(bot.market, {NAME: make_instrument()}, bot.latency)
    bot.run(1)
    bot.switch.engage("test", "Ada", bot.now)
    bot.run(4)
    assert stages(bot)[-1] == "verifying"
    assert bot.alerts() == ["kill", "verification_failed"]
    down[0] = False
    bot.run(4.5)
    assert stages(bot)[-1] == "halted"


def test_orders_that_cannot_be_cancelled_do_not_stop_the_flattening(world: Worlds) -> None:
    """With the cancels failing, the position goes all the same, and it halts when the venue takes cancels again."""
    down = [True]

    class Deaf(FakeVenue):
        def cancel(self, client_order_id: str, now_ns: int) -> None:
            if down[0]:
                raise TransientError("no answer")
            FakeVenue.cancel(self, client_order_id, now_ns)

    bot = world(script=lambda s: make_inference(0.5 if s.known_at < START + 2 * SECOND else 0.9, timing=-1.0))
    bot.kernel.venue = bot.venue = Deaf(bot.market, {NAME: make_instrument()}, bot.latency)
    bot.venue._positions[NAME] = Quantity(3)
    bot.run(0.2)
    bot.kernel.accept("opened by hand", "Ada")
    bot.run(1.2)
    assert bot.venue.open_orders(bot.now)
    bot.switch.engage("test", "Ada", bot.now)
    bot.run(3)
    assert bot.venue.positions(bot.now) == {}
    assert stages(bot)[-1] == "flattening"
    assert bot.alerts().count("venue_unavailable") == 1
    down[0] = False
    bot.run(4)
    assert bot.venue.open_orders(bot.now) == []
    assert stages(bot)[-1] == "halted"


def test_a_switch_that_cannot_be_saved_still_flattens(world: Worlds) -> None:
    """A full disk does not keep the drawdown from closing the position."""

    class Full(KillSwitch):
        def _write(self, state: Any) -> None:
            if state.engaged:
                raise DataError("no space left")

    bot = world(*FALL, overrides=BOLD, switch=Full(), script=lambda _: 1.0)
    bot.run(8)
    assert bot.kernel.account.quantities() == {}
    assert "kill_not_saved" in bot.alerts()
    assert stages(bot)[-1] == "halted"
