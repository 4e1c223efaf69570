"""A bot's journal without a bot: a seeded walk of price, decisions, fills and alerts, written with the real messages.

For tests and screenshots of the page. Every record is what the kernel writes, in kind and shape; the numbers mean
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from cryptoai.core.clock import MS, SECOND
from cryptoai.core.ids import client_order_id, content_hash
from cryptoai.core.journal import Journal
from cryptoai.core.messages import (
    Action,
    Alert,
    Bound,
    Equity,
    Fill,
    Inference,
    OrderKind,
    OrderRequest,
    OrderStatus,
    OrderUpdate,
    Proposal,
    Severity,
    Side,
    Verdict,
)
from cryptoai.core.money import Money, Price, Quantity

__all__ = ["INSTRUMENT", "SyntheticRun", "write_journal"]

INSTRUMENT = "binance_usdm:BTCUSDT"
START_NS = 1_723_161_255 * SECOND
_STEP, _TICK = Decimal("0.001"), Decimal("0.1")
_REVISION, _SCHEMA = content_hash(b"bundle", 32), content_hash(b"schema", 32)

Entry = tuple[str, int, dict[str, Any]]


@dataclass
class SyntheticRun:
    """Yields the entries of decision after decision; the same seed gives the same entries."""

    seed: int = 7
    bot: str = "btc-shadow"
    mode: str = "shadow"
    cash: Decimal = Decimal(100_000)
    fees: Decimal = Decimal(0)
    position: Decimal = Decimal(0)
    price: float = 61_800.0
    trend: float = 0.0
    number: int = 0
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def start(self) -> Entry:
        about = {"schema_hash": _SCHEMA, "config_hash": content_hash(b"config", 32), "instruments": [INSTRUMENT]}
        return (
            "start",
            START_NS,
            {"bot": self.bot, "revision": _REVISION, "mode": self.mode, "seed": self.seed, **about},
        )

    def decide(self, *, safe: str | None = None) -> Iterator[Entry]:
        """One decision with all that follows it."""
        self.trend = 0.95 * self.trend + float(self._random.normal(0, 0.6))
        self.price *= 1 + (self.trend + float(self._random.normal(0, 1.4))) * 1e-5
        now = START_NS + self.number * SECOND
        said = None if safe else self._inference()
        exposure = Decimal(0) if said is None else said.action.exposure()
        state = content_hash(f"{self.seed}|{self.number}".encode(), 32)
        proposal = Proposal(
            decision=self.number,
            time=now,
            instrument=INSTRUMENT,
            exposure=exposure,
            leverage=Decimal(1),
            urgency=Decimal("0.5"),
            state_hash=state,
            revision=_REVISION,
        )
        body = {"decision": self.number, "instrument": INSTRUMENT, "state_hash": state, "safe": safe}
        spoken = None if said is None else said.body()
        yield "decision", now, {**body, "proposal": proposal.body(), "inference": spoken}
        verdict = self._verdict(now, exposure)
        yield "verdict", now, verdict.body()
        if verdict.order is not None:
            yield from self._execute(verdict.order, now)
        yield "equity", now + 60 * MS, self._equity(now + 60 * MS).body()
        self.number += 1

    def alert(self, severity: Severity, name: str, message: str) -> Entry:
        now = START_NS + self.number * SECOND
        return "alert", now, Alert(time=now, severity=severity, name=name, message=message).body()

    def _inference(self) -> Inference:
        mean, spread = self.trend * 0.3, 1.1 + 0.4 * math.sin(self.number / 40)
        direction = max(-1.0, min(1.0, self.trend / 2))
        tail = 2.6 + 0.9 * math.sin(self.number / 55) + abs(float(self._random.normal(0, 0.15)))
        calm = 0.55 + 0.3 * math.sin(self.number / 70)
        return Inference(
            action=Action(direction=direction, size=0.55, leverage=-0.6, timing=0.2),
            revision=_REVISION,
            schema_hash=_SCHEMA,
            return_bps={"1s": mean, "5s": mean * 2.2, "10s": mean * 3},
            return_sd_bps={"1s": spread, "5s": spread * 2.2, "10s": spread * 3.1},
            quantiles_bps={
                f"p{p:02d}": mean + z * spread for p, z in ((1, -2.6), (5, -1.7), (50, 0.0), (95, 1.6), (99, 2.5))
            },
            regime={
                "calm": calm,
                "trending": (1 - calm) * 0.6,
                "volatile": (1 - calm) * 0.3,
                "stressed": (1 - calm) * 0.1,
            },
            var99_bps=tail,
            es99_bps=tail * 1.27,
            anomaly=0.42 + 0.12 * math.sin(self.number / 25) + abs(float(self._random.normal(0, 0.04))),
            alarm=False,
            value=mean / spread,
        )

    def _verdict(self, now: int, exposure: Decimal) -> Verdict:
        wanted = Quantity(exposure * 10_000 / Decimal(round(self.price, 1))).floor_to(_STEP).value
        limit = Decimal("0.060")
        approved = max(-limit, min(limit, wanted))
        bounds = (Bound(limit="max_tail_loss_pct", wanted=str(wanted), allowed=str(approved)),)
        change = approved - self.position
        return Verdict(
            decision=self.number,
            time=now,
            instrument=INSTRUMENT,
            current=Quantity(self.position),
            proposed=Quantity(wanted),
            approved=Quantity(approved),
            bounds=bounds if approved != wanted else (),
            order=self._order(now, change) if abs(change) >= Decimal("0.012") else None,
        )

    def _order(self, now: int, change: Decimal) -> OrderRequest:
        side = Side.BUY if change > 0 else Side.SELL
        return OrderRequest(
            client_order_id=client_order_id(self.bot, _REVISION, self.number, INSTRUMENT),
            decision=self.number,
            time=now,
            instrument=INSTRUMENT,
            side=side,
            kind=OrderKind.LIMIT,
            quantity=Quantity(abs(change)),
            price=self._mark(),
        )

    def _execute(self, order: OrderRequest, now: int) -> Iterator[Entry]:
        yield "order", now, order.body()
        known = now + 40 * MS
        price = order.price or self._mark()
        fee = (price * order.quantity).times(Decimal("0.0002"))
        filled = Fill(
            client_order_id=order.client_order_id,
            fill_id=f"f{self.number}",
            instrument=INSTRUMENT,
            side=order.side,
            price=price,
            quantity=order.quantity,
            fee=fee,
            maker=self.number % 3 > 0,
            event_time=known - 20 * MS,
            known_at=known,
        )
        self.position += order.signed.value
        self.cash -= (price * order.signed).value + fee.value
        self.fees += fee.value
        update = OrderUpdate(
            client_order_id=order.client_order_id,
            instrument=INSTRUMENT,
            status=OrderStatus.FILLED,
            event_time=known - 20 * MS,
            known_at=known,
        )
        yield "update", known, update.body()
        yield "fill", known, filled.body()

    def _equity(self, now: int) -> Equity:
        mark, quantity = self._mark(), Quantity(self.position)
        return Equity(
            time=now,
            cash=Money(self.cash),
            fees=Money(self.fees),
            funding=Money.zero(),
            positions={INSTRUMENT: quantity},
            marks={INSTRUMENT: mark},
            equity=Money(self.cash) + mark * quantity,
        )

    def _mark(self) -> Price:
        return Price.from_ticks(round(self.price * 10), _TICK)


def write_journal(path: Path, decisions: int, *, run: SyntheticRun | None = None) -> SyntheticRun:
    """Appends `decisions` decisions (after a start record in a new file); returns the run, to go on with."""
    made = run or SyntheticRun()
    with Journal(path, durable=False) as journal:
        if journal.next_seq == 0:
            journal.append(*made.start())
        for _ in range(decisions):
            for entry in made.decide():
                journal.append(*entry)
    return made
