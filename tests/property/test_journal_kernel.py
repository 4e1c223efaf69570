"""Whatever the market does and the model says: the journal adds up, explains every order and survives a cut."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.core.config import build
from cryptoai.core.ids import client_order_id
from cryptoai.core.journal import Journal, Record, read_journal
from cryptoai.core.messages import Inference, OrderRequest
from cryptoai.core.money import Quantity
from cryptoai.execution.kernel import Kernel
from cryptoai.risk_engine.kill_switch import KillSwitch
from cryptoai.testing.fakes import FakeMarket, FakeModel, FakeVenue, make_inference, make_instrument, make_quote

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
PAIR = (make_instrument("fake:A"), make_instrument("fake:B"))
CONFIG = build(
    {
        "risk": {"depth_share": 1.0, "max_position_pct": 0.9, "max_correlated_pct": 20.0},
        "execution": {"order_ttl_ms": 700},
    }
)

Tick = tuple[int, int]
Plan = tuple[list[Tick], list[tuple[float, float] | None], int]

ticks = st.lists(st.tuples(st.integers(900, 1100), st.integers(1, 3000)), min_size=3, max_size=10)
answers = st.lists(st.one_of(st.none(), st.tuples(st.floats(-1, 1), st.floats(-1, 1))), min_size=1, max_size=6)
plans = st.tuples(ticks, answers, st.integers(0, 300))


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class Bot:
    """A bot in a world that is drawn by hypothesis; `restart` is what kill -9 and a new process do."""

    def __init__(self, path: Path, plan: Plan) -> None:
        levels, said, latency_ms = plan
        quotes = [
            make_quote(i, START + n * SECOND + k, Decimal(level + k).scaleb(-1), Decimal(size))
            for n, (level, size) in enumerate(levels)
            for k, i in enumerate(PAIR)
        ]
        self.path, self.said, self.seconds = path, said, len(levels)
        self.market = FakeMarket(quotes)
        self.venue = FakeVenue(self.market, {i.id: i for i in PAIR}, latency_ms * 1_000_000)
        self.journal = Journal(path, durable=False)
        self.kernel = self._kernel()

    def _answer(self, time: int) -> Inference | None:
        answer = self.said[(time // SECOND) % len(self.said)]
        return None if answer is None else make_inference(answer[0], timing=answer[1])

    def _kernel(self) -> Kernel:
        return Kernel(
            bot="bot",
            revision="fake-revision",
            instruments=PAIR,
            config=CONFIG,
            market=self.market,
            venue=self.venue,
            model=FakeModel(lambda state: self._answer(state.known_at)),
            journal=self.journal,
            kill_switch=KillSwitch(),
        )

    def run(self, first: int, last: int) -> None:
        """Steps of a third of a second, `last` excluded."""
        for n in range(first, last):
            self.kernel.step(START + n * SECOND // 3)

    def restart(self) -> None:
        self.journal.close()
        self.journal = Journal(self.path, durable=False)
        self.kernel = self._kernel()
        self.kernel.resume(list(read_journal(self.path)))

    def finish(self) -> list[Record]:
        self.kernel.finish(START + (self.seconds + 5) * SECOND)
        self.journal.close()
        return list(read_journal(self.path))


def adds_up(records: list[Record]) -> None:
    """From the journal alone, without the account's code: cash, positions and equity of every record."""
    cash, fees, held = (
        Decimal(str(CONFIG.execution.initial_cash)),
        Decimal(0),
        dict.fromkeys((i.id for i in PAIR), Decimal(0)),
    )
    for record in records:
        body = record.body
        if record.kind == "fill":
            signed = Decimal(body["quantity"]) * (1 if body["side"] == "buy" else -1)
            cash -= signed * Decimal(body["price"]) + Decimal(body["fee"])
            fees += Decimal(body["fee"])
            held[body["instrument"]] += signed
        elif record.kind == "equity":
            worth = sum((q * Decimal(body["marks"][n]) for n, q in held.items() if q), start=Decimal(0))
            assert Decimal(body["cash"]) == cash
            assert Decimal(body["fees"]) == fees
            assert {n: Decimal(q) for n, q in body["positions"].items()} == {n: q for n, q in held.items() if q}
            assert Decimal(body["equity"]) == cash + worth


def explained(records: list[Record]) -> None:
    """Each order follows its own verdict, which follows its decision; each fill follows its order and fits in it."""
    left: dict[str, Quantity] = {}
    for n, record in enumerate(records):
        if record.kind == "order":
            order = OrderRequest.model_validate(record.body)
            verdict = next(r for r in reversed(records[:n]) if r.kind == "verdict")
            decision = next(r for r in reversed(records[:n]) if r.kind == "decision")
            assert verdict.body["order"] == record.body
            assert verdict.body["decision"] == decision.body["decision"] == order.decision
            assert order.client_order_id == client_order_id("bot", "fake-revision", order.decision, order.instrument)
            assert order.client_order_id not in left
            assert abs(Decimal(verdict.body["approved"])) <= abs(Decimal(verdict.body["proposed"]))
            left[order.client_order_id] = order.quantity
        elif record.kind == "fill":
            left[record.body["client_order_id"]] -= Quantity(record.body["quantity"])
            assert left[record.body["client_order_id"]] >= Quantity.zero()


@given(plans)
@settings(max_examples=30)
def test_the_journal_adds_up_and_explains(plan: Plan) -> None:
    """Any market, any answers: the identities and the chain from decision to fill hold in the journal alone."""
    with folder() as where:
        bot = Bot(where / "j", plan)
        bot.run(0, 3 * bot.seconds)
        records = bot.finish()
        adds_up(records)
        explained(records)
        numbers = [r.body["decision"] for r in records if r.kind == "decision"]
        assert numbers == list(range(len(numbers)))


@given(plans)
@settings(max_examples=15)
def test_the_same_world_gives_the_same_bytes(plan: Plan) -> None:
    """Twice the same inputs: byte-identical journals."""
    with folder() as where:
        for name in "ab":
            bot = Bot(where / name, plan)
            bot.run(0, 3 * bot.seconds)
            bot.finish()
        assert (where / "a").read_bytes() == (where / "b").read_bytes()


@given(plans, st.integers(1, 29))
@settings(max_examples=30)
def test_a_restart_anywhere_duplicates_nothing(plan: Plan, cut: int) -> None:
    """Killed between two steps and resumed: the story stays one, and ends where the venue is."""
    with folder() as where:
        bot = Bot(where / "j", plan)
        end = 3 * bot.seconds
        bot.run(0, min(cut, end))
        bot.restart()
        bot.run(min(cut, end), end + 12)
        records = bot.finish()
        adds_up(records)
        explained(records)
        assert not bot.kernel.blocked
        after = START + (bot.seconds + 6) * SECOND
        bot.venue.poll(after)
        late = [o for o in bot.kernel.orders.open() if o.cancel_asked]
        if not late:
            assert bot.kernel.account.differences(bot.venue.positions(after)) == {}
