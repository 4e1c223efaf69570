"""The loop: what it decides, what it refuses, what it writes, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cryptoai.core.errors import DataError, InvariantError, TransientError, VenueError
from cryptoai.core.ids import client_order_id
from cryptoai.core.journal import read_journal
from cryptoai.core.messages import SAFE_ACTION, Fill, OrderUpdate, Quote
from cryptoai.core.money import Quantity
from cryptoai.execution.explain import explain
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.testing.fakes import FakeMarket, FakeVenue, make_inference, make_instrument, make_quote

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
NAME = "fake:BTCUSDT"
Worlds = Callable[..., Any]


def test_a_round_writes_its_whole_story(world: Worlds) -> None:
    """Start, equity, decision, verdict, order; then the venue's answers and the equity after the fill."""
    bot = world()
    bot.run(0.5)
    kinds = [r.kind for r in bot.records()]
    assert kinds == ["start", "equity", "decision", "verdict", "order", "update", "fill", "equity"]
    start, decision, order = (bot.bodies(k)[0] for k in ("start", "decision", "order"))
    assert start["bot"] == "bot"
    assert start["mode"] == "shadow"
    assert decision["safe"] is None
    assert len(decision["state_hash"]) == 32
    assert order["client_order_id"] == client_order_id("bot", "fake-revision", 0, NAME)
    assert bot.bodies("fill")[0]["quantity"] == "49.975"
    assert bot.kernel.account.quantities() == {NAME: Quantity("49.975")}


def test_decisions_keep_their_interval(world: Worlds) -> None:
    """However often it is stepped, it decides once a second, and says when it wants to be woken."""
    bot = world()
    bot.run(3.05, step=0.05)
    times = [r.time - START for r in bot.records("decision")]
    assert times == [0, SECOND, 2 * SECOND, 3 * SECOND]
    assert bot.kernel.wake() == START + 4 * SECOND


def test_late_steps_do_not_bend_the_grid(world: Worlds) -> None:
    """A step that comes late decides once and then returns to the grid."""
    bot = world()
    for now in (0.0, 2.7, 3.0, 3.5, 4.0):
        bot.kernel.step(START + int(now * SECOND))
    assert [(r.time - START) / SECOND for r in bot.records("decision")] == [0, 2.7, 3, 4]


def test_the_history_grows_to_the_context(world: Worlds) -> None:
    """The model sees its states oldest first, at most as many as its context."""
    seen: list[list[int]] = []
    bot = world(overrides={"model": {"context": 3}})
    bot.model.decide = lambda history: seen.append([s.known_at for s in history]) or make_inference(0.0)
    bot.run(4)
    assert [len(h) for h in seen] == [1, 2, 3, 3, 3]
    assert seen[-1] == [START + n * SECOND for n in (2, 3, 4)]


def test_the_record_is_on_disk_before_the_wire(world: Worlds, tmp_path: Path) -> None:
    """At the moment of submit a reader of the file finds the order as its last record."""
    checked: list[str] = []

    class Watching(FakeVenue):
        def submit(self, order: ApprovedOrder, now_ns: int) -> None:  # noqa: ARG002
            last = list(read_journal(tmp_path / "journal-0.jsonl"))[-1]
            assert last.kind == "order"
            assert last.body == order.request.body()
            checked.append(order.request.client_order_id)

    market = FakeMarket([make_quote(make_instrument(), START, "100")])
    world(venue=Watching(market, {NAME: make_instrument()})).run(0)
    assert len(checked) == 1


def test_nothing_is_sent_if_the_journal_fails(world: Worlds) -> None:
    """A full disk stops the bot before the order leaves."""
    bot = world()
    append = bot.journal.append

    def full(kind: str, time: int, body: dict[str, Any]) -> Any:
        if kind == "order":
            raise DataError("journal: No space left on device")
        return append(kind, time, body)

    bot.kernel.journal = type("Full", (), {"append": staticmethod(full)})()
    with pytest.raises(DataError):
        bot.run(0)
    assert bot.venue.open_orders(START + SECOND) == []
    assert bot.venue.positions(START + SECOND) == {}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "unavailable"),
        (make_inference(0.5, revision="other"), "revision"),
        (make_inference(0.5, schema_hash="other"), "schema"),
    ],
)
def test_no_good_answer_is_the_safe_action(world: Worlds, answer: Any, why: str) -> None:
    """Absent, of another revision or schema: no exposure is proposed, no order sent, one alert for the episode."""
    bot = world(script=lambda _: answer)
    bot.run(5)
    assert bot.bodies("order") == []
    assert bot.alerts() == ["model_unavailable"]
    for body in bot.bodies("decision"):
        assert why in body["safe"]
        assert body["proposal"]["exposure"] == str(SAFE_ACTION.exposure())


@pytest.mark.parametrize("error", [ValueError("not JSON"), TimeoutError("late"), TransientError("503")])
def test_a_model_that_fails_is_unavailable(world: Worlds, error: Exception) -> None:
    """Whatever goes wrong on the way to the model ends in the safe action, a second episode alerts again."""
    broken = {START + SECOND, START + 3 * SECOND}

    def script(state: Any) -> float:
        if state.known_at in broken:
            raise error
        return 0.0

    bot = world(script=script)
    bot.run(4)
    assert bot.alerts() == ["model_unavailable"] * 2
    assert [body["safe"] is not None for body in bot.bodies("decision")] == [False, True, False, True, False]


def test_a_bug_is_not_hidden(world: Worlds) -> None:
    """An InvariantError of the model stops the bot."""

    def script(_: Any) -> float:
        raise InvariantError("a bug")

    with pytest.raises(InvariantError, match="a bug"):
        world(script=script).run(0)


def test_safe_action_reduces_what_is_held(world: Worlds) -> None:
    """With a position, the safe action waits at the touch to leave; it adds nothing."""
    bot = world(script=lambda s: 0.5 if s.known_at < START + 2 * SECOND else None)
    bot.run(6)
    late = [body for body in bot.bodies("order") if body["time"] >= START + 2 * SECOND]
    assert late
    assert all(body["reduce_only"] and body["price"] == "100.1" for body in late)


def test_alarm_adds_nothing(world: Worlds) -> None:
    """The black-swan alarm reaches the judge."""
    alarmed = make_inference(0.5).model_copy(update={"alarm": True})
    bot = world(script=lambda _: alarmed)
    bot.run(1)
    assert bot.bodies("order") == []
    assert "black_swan" in [b["limit"] for b in bot.bodies("verdict")[0]["bounds"]]


def test_stale_data_alerts_once_and_says_since_when(world: Worlds) -> None:
    """The feed stops at START; from two seconds on the instrument is reduce-only."""
    bot = world("100", script=lambda s: 0.1 if s.known_at < START + 3 * SECOND else 0.5)
    bot.run(6)
    assert bot.alerts() == ["stale_data"]
    assert str(START) in bot.bodies("alert")[0]["message"]
    assert [body["decision"] for body in bot.bodies("order")] == [0]


def test_without_a_quote_nothing_happens(world: Worlds) -> None:
    """Before the first quote the decision is safe, the verdict a denial, and the model is not asked."""
    bot = world(quotes=[make_quote(make_instrument(), START + 2 * SECOND, "100")])
    bot.run(1)
    assert bot.model.calls == 0
    assert [b["limit"] for b in bot.bodies("verdict")[0]["bounds"]] == ["denied"]
    assert bot.alerts() == ["stale_data", "risk_denial"]
    bot.run(2)
    assert bot.model.calls == 1


def test_a_state_that_cannot_be_made_is_the_safe_action(world: Worlds) -> None:
    """DataError of the market: no state hash, no inference, no order."""
    bot = world()

    def broken(*_: object) -> Any:
        raise DataError("the feature engine has no row")

    bot.market.state = broken
    bot.run(0)
    body = bot.bodies("decision")[0]
    assert (body["state_hash"], body["inference"]) == ("", None)
    assert "no row" in body["safe"]
    assert bot.bodies("order") == []


def test_old_orders_are_cancelled(world: Worlds) -> None:
    """A patient order that is not filled goes after its time to live, and until then no other is sent."""
    patient = make_inference(0.5, timing=-1.0)
    bot = world(script=lambda _: patient, overrides={"execution": {"order_ttl_ms": 1500}})
    bot.run(1.6)
    assert len(bot.bodies("order")) == 1
    assert [b["limit"] for b in bot.bodies("verdict")[1]["bounds"]][-1] == "open_order"
    bot.run(2.2)
    assert [body["status"] for body in bot.bodies("update")] == ["open", "cancelled", "open"]
    assert len(bot.bodies("order")) == 2


def test_partial_fills_and_equity(world: Worlds) -> None:
    """Every fill has its equity record right behind it, and the record adds up."""
    bot = world(quotes=[make_quote(make_instrument(), START + n * SECOND // 4, "100", "7") for n in range(40)])
    bot.run(4)
    records = bot.records()
    fills = [n for n, r in enumerate(records) if r.kind == "fill"]
    assert len(fills) > 3
    assert all(records[n + 1].kind == "equity" for n in fills)
    assert bot.kernel.fills == len(fills)


def test_told_twice_is_booked_once(world: Worlds) -> None:
    """A venue that repeats itself changes nothing."""

    class Stammering(FakeVenue):
        def poll(self, now_ns: int) -> list[OrderUpdate | Fill]:
            once = FakeVenue.poll(self, now_ns)
            return [*once, *once]

    quotes = [make_quote(make_instrument(), START, "100", "1000")]
    plain, twice = world(quotes=quotes), world(quotes=quotes)
    plain.run(3)
    twice.venue = twice.kernel.venue = Stammering(twice.market, {NAME: make_instrument()}, twice.latency)
    twice.run(3)
    assert plain.path.read_bytes() == twice.path.read_bytes()
    assert plain.bodies("fill")


def test_a_refused_order_is_dead(world: Worlds) -> None:
    """VenueError: the order is rejected with the venue's reason, and the next decision may try again."""

    class Refusing(FakeVenue):
        def submit(self, order: ApprovedOrder, now_ns: int) -> None:  # noqa: ARG002
            raise VenueError("margin is insufficient")

    bot = world()
    bot.kernel.venue = Refusing(bot.market, {NAME: make_instrument()})
    bot.run(1)
    assert [(b["status"], b["reason"]) for b in bot.bodies("update")] == [("rejected", "margin is insufficient")] * 2
    assert bot.kernel.orders.open() == []


def test_a_lost_answer_is_looked_up_not_resent(world: Worlds) -> None:
    """TransientError on submit: the order stays unresolved until the cancel finds that the venue never had it."""

    class Flaky(FakeVenue):
        def submit(self, order: ApprovedOrder, now_ns: int) -> None:  # noqa: ARG002
            raise TransientError("timed out")

    bot = world(overrides={"execution": {"order_ttl_ms": 500}})
    bot.kernel.venue = Flaky(bot.market, {NAME: make_instrument()})
    bot.run(0.9)
    assert len(bot.bodies("order")) == 1
    assert bot.alerts() == ["venue_unavailable"]
    assert bot.bodies("update")[0]["status"] == "cancelled"


def test_a_stranger_blocks_trading(world: Worlds) -> None:
    """A fill of an order that is not ours is not booked; trading stops until a person accepts."""
    bot = world(script=lambda s: 0.5 if s.known_at > START else 0.0)
    bot.run(0)
    fill = Fill.model_validate(
        {
            "client_order_id": "web-1",
            "fill_id": "1",
            "instrument": NAME,
            "side": "buy",
            "price": "100",
            "quantity": "1",
            "fee": "0",
            "maker": False,
            "event_time": START,
            "known_at": START,
        }
    )
    bot.venue._outbox.append(fill)
    bot.run(1)
    assert "unknown_order" in bot.alerts()
    assert bot.kernel.blocked
    assert bot.bodies("order") == []


def test_two_instruments_share_one_account(world: Worlds) -> None:
    """Each decides in its turn, and the leverage limit sees what the other holds or has open."""
    pair = (make_instrument("fake:A"), make_instrument("fake:B"))
    quotes = [make_quote(i, START + n * SECOND, "100", "10000") for n in range(5) for i in pair]
    risk = {"max_position_pct": 1.0, "max_leverage": 1.0, "depth_share": 1.0, "max_correlated_pct": 20.0}
    bot = world(quotes=quotes, instruments=pair, overrides={"risk": risk}, script=lambda _: 0.8)
    bot.run(2)
    verdicts = bot.bodies("verdict")
    assert [v["instrument"] for v in verdicts[:2]] == ["fake:A", "fake:B"]
    assert "max_leverage" in [b["limit"] for b in verdicts[1]["bounds"]]
    gross = sum(float(bot.kernel.account.notional(i.id)) for i in pair)
    assert 99_000 < gross <= 100_050


def test_the_end(world: Worlds) -> None:
    """Finish cancels what is open and closes the story with its counts."""
    bot = world(script=lambda _: make_inference(0.5, timing=-1.0))
    bot.run(0.5)
    bot.kernel.finish(START + SECOND)
    assert bot.records()[-1].kind == "end"
    assert bot.bodies("end") == [{"decisions": 1, "fills": 0}]
    assert bot.venue.open_orders(START + 2 * SECOND) == []


def test_time_does_not_go_back(world: Worlds) -> None:
    """A step into the past is a bug of the caller."""
    bot = world()
    bot.run(1)
    with pytest.raises(InvariantError, match="stepped back"):
        bot.kernel.step(START)


def test_same_inputs_same_bytes(world: Worlds) -> None:
    """Two runs give byte-identical journals, a different market a different one."""
    levels = ["100", "100.4", "99.8", "101", "100.2"] * 4
    one, two, other = world(*levels), world(*levels), world(*levels[::-1])
    for bot in (one, two, other):
        bot.run(15)
        bot.kernel.finish(bot.now)
    assert one.path.read_bytes() == two.path.read_bytes() != other.path.read_bytes()


def test_a_decision_explains_itself(world: Worlds) -> None:
    """From the journal alone: who, what was seen, what was proposed, judged, sent and filled."""
    bot = world()
    bot.run(1)
    story = explain(bot.path, 0)
    assert story["start"]["revision"] == "fake-revision"
    assert story["decision"]["proposal"]["exposure"] == "0.500000"
    assert story["verdict"]["order"] == story["order"]
    assert [u["status"] for u in story["updates"]] == ["open"]
    assert story["fills"][0]["quantity"] == "49.975"
    with pytest.raises(DataError, match="no decision 99"):
        explain(bot.path, 99)


def test_quotes_are_only_read_through_the_market(world: Worlds) -> None:
    """A quote that becomes known later does not change a decision made before."""
    early: list[Quote] = [make_quote(make_instrument(), START, "100", "1000")]
    late = [*early, make_quote(make_instrument(), START + 10 * SECOND, "50", "1")]
    one, two = world(quotes=early), world(quotes=late)
    for bot in (one, two):
        bot.run(9)
    assert one.path.read_bytes() == two.path.read_bytes()
