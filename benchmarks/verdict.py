"""One verdict of the risk engine: proposal in, approved order out.

Beside it a bare loop of about the same length, whose p99 over p50 is what this machine adds to anything.
"""

from __future__ import annotations

from decimal import Decimal

from harness import each, report

from cryptoai.core.config import Config
from cryptoai.core.messages import AccountView, Conditions, Proposal
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.risk_engine.judge import judge
from cryptoai.risk_engine.situation import Context, Peer
from cryptoai.testing.fakes import make_instrument, make_quote


def main() -> None:
    config, made, now = Config(), make_instrument(), 1_700_000_000_000_000_000
    quote = make_quote(made, now, "60000")
    cash = Money(100_000)
    view = AccountView(
        time=now,
        equity=cash,
        peak_equity=cash,
        cash=cash,
        positions={made.id: Quantity(0)},
        entry_prices={made.id: Price(1)},
        open_orders=0,
        last_fill_time=0,
    )
    wanted = Proposal(
        decision=1,
        time=now,
        instrument=made.id,
        exposure=Decimal("0.5"),
        leverage=Decimal(1),
        urgency=Decimal("0.5"),
        state_hash="0" * 32,
        revision="r",
    )
    conditions = Conditions(
        instrument=made.id, time=now, volatility_bps=300.0, turnover=6e6, funding_rate=0.0001, event_severity=0.1
    )
    context = Context(
        bot="bench",
        day_start_equity=cash,
        other_notional=Money(5_000),
        es99_bps=1.0,
        anomaly=0.3,
        conditions=conditions,
        peers=(Peer(Decimal(3_000), 2.0, 0.7), Peer(Decimal(-2_000), 3.0, 0.5)),
    )

    def decide() -> object:
        return judge(wanted, quote, view, config.risk, config.execution, made, context)

    if decide()[1] is None:  # type: ignore[index]
        raise SystemExit("the benchmark's proposal must pass, or it measures a denial")
    measured, bare = each(decide, count=5_000), each(lambda: sum(n * n for n in range(700)), count=5_000)
    noise = round(bare["p99_us"] / bare["p50_us"], 2)
    report("verdict", unit="one verdict", **measured, bare_loop_p50_us=bare["p50_us"], bare_loop_p99_over_p50=noise)


if __name__ == "__main__":
    main()
