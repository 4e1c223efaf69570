"""The verdict on one replay: every figure, the baselines beside it, what was assumed, as data and as ten lines of text.

The CLI prints `result_lines`, writes `result_summary` as JSON and hands the `Evaluation` to `report`. Nothing here
formats HTML, and nothing is computed that the journal and the tape do not hold.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from cryptoai.backtesting.baselines import Baseline, baselines
from cryptoai.backtesting.calibration import Calibration, calibration
from cryptoai.backtesting.costs import Costs, Trading, attribute, trading
from cryptoai.backtesting.ledger import Ledger
from cryptoai.backtesting.metrics import Performance, performance, period_returns
from cryptoai.backtesting.run import BacktestResult
from cryptoai.backtesting.significance import Interval, block_bootstrap, deflated_sharpe
from cryptoai.backtesting.touch import touches
from cryptoai.core.clock import MS, SECOND, iso
from cryptoai.core.instruments import Contract

__all__ = [
    "NO_PROMISE",
    "Evaluation",
    "assumption_line",
    "assumptions",
    "count",
    "duration",
    "evaluate",
    "result_lines",
    "result_summary",
    "signed",
    "verdict",
    "who",
]

_PLAIN = {"buy and hold": "buy and hold, same budget"}

NO_PROMISE = "Nothing here promises profit: this simulates the past, and the future owes it nothing."


@dataclass(frozen=True, slots=True)
class Evaluation:
    """deflated_sharpe: probability that the true Sharpe ratio beats the luck of `trials` tries, None without trades.

    `variance` of the trials' Sharpe ratios of one decision interval, None if only their number is known. interval: of
    the window's net return, block bootstrap. `calibration` is None without enough forecasts.
    """

    result: BacktestResult
    performance: Performance
    costs: Costs
    trading: Trading
    baselines: tuple[Baseline, ...]
    deflated_sharpe: float | None
    trials: int
    interval: Interval
    calibration: Calibration | None

    @property
    def quote(self) -> str:
        """What money is counted in."""
        return self.result.replay.feeds[0].instrument.settlement


def evaluate(result: BacktestResult, *, trials: int = 1, variance: float | None = None) -> Evaluation:
    """Every figure of a replay; `trials` is how many strategies were tried before this one was shown, itself included,
    and `variance` that of their Sharpe ratios of one decision interval."""
    ledger, replay = result.ledger, result.replay
    config, instruments = replay.config, [feed.instrument for feed in replay.feeds]
    returns = period_returns(ledger.equity)
    generator = np.random.default_rng(config.training.seed)
    return Evaluation(
        result=result,
        performance=performance(ledger.times, ledger.equity),
        costs=attribute(ledger, instruments, touches(replay.feeds, replay.assumed, ledger.trades)),
        trading=trading(ledger, config.risk.max_position_pct, instruments),
        baselines=baselines(result),
        deflated_sharpe=deflated_sharpe(returns, trials, variance),
        trials=trials,
        interval=block_bootstrap(returns, lambda sample: float(np.prod(1.0 + sample) - 1.0), generator),
        calibration=calibration(ledger),
    )


def assumptions(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What the figures rest on, as (topic, sentence), for a banner."""
    replay, window = evaluation.result.replay, evaluation.result.replay.window
    execution, risk = replay.config.execution, replay.config.risk
    cash = f"{execution.initial_cash:,.0f} {evaluation.quote}"
    simulated = [tuple(line.split(": ", 1)) for line in replay.assumed.banner(replay.feeds)]
    return [
        ("Window", f"{iso(window.start)[:19]}Z to {iso(window.stop)[:19]}Z, {duration(window.stop - window.start)}"),
        ("Decisions", f"every {_interval(execution.decision_interval_ms)} by {who(evaluation)}"),
        ("Money", f"{cash} to start with, at most {risk.max_position_pct:.0%} of equity in one instrument"),
        *((topic, text) for topic, text in simulated),
        ("Marking", "at mid; what is open at the end is not sold"),
        ("Year", "365 days; no risk-free rate is subtracted"),
    ]


def assumption_line(evaluation: Evaluation) -> str:
    """The assumptions that move the result most, in one line."""
    replay = evaluation.result.replay
    rules = replay.config.backtest
    fees = sorted({f"{_bps(f.instrument.maker_fee)}/{_bps(f.instrument.taker_fee)}" for f in replay.feeds})
    taped = all(f.instrument.contract is Contract.SPOT or f.facts_of("funding") is not None for f in replay.feeds)
    funding = "funding from its tape" if taped else f"funding {rules.funding_bps:g} bps every 8 h against us"
    impact = f"impact {rules.impact_bps:g} bps past the book" if rules.impact_bps else "no impact"
    return (
        f"{replay.assumed.latency.describe()}; fees {' or '.join(fees)} bps maker/taker, {rules.queue} queue, "
        f"{impact}, {funding}"
    )


def verdict(evaluation: Evaluation) -> str:
    """What little would have earned net of the same costs, and whether the strategy beat it, in one sentence."""
    ours = evaluation.performance.total_return
    named = [f"{_PLAIN.get(b.name, b.name)} {signed(b.total_return, '.3%')}" for b in evaluation.baselines]
    beaten = sum(ours > baseline.total_return for baseline in evaluation.baselines)
    said = "all" if beaten == len(named) else "none" if not beaten else f"{beaten} of {len(named)}"
    return (
        f"Net of the same costs the naive baselines earned: {', '.join(named)}. "
        f"The strategy earned {signed(ours, '.3%')} and beat {said}."
    )


def count(number: int, name: str) -> str:
    """'1 trial', '2 trials'."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def signed(value: float, form: str) -> str:
    """A number with its sign, and plain zero where it rounds to zero."""
    text = f"{value:+{form}}"
    return text if any(digit in text for digit in "123456789") else text[1:]


def who(evaluation: Evaluation) -> str:
    """Name and revision of what decided."""
    replay = evaluation.result.replay
    short = replay.revision[:12]
    return replay.model_name if short in replay.model_name else f"{replay.model_name}, revision {short}"


def result_summary(evaluation: Evaluation) -> dict[str, Any]:
    """Everything as JSON-ready data, for summary.json."""
    ledger, replay = evaluation.result.ledger, evaluation.result.replay
    return {
        "instruments": [feed.instrument.id for feed in replay.feeds],
        "bot": replay.bot,
        "model": replay.model_name,
        "revision": replay.revision,
        "window": {"start_ns": replay.window.start, "stop_ns": replay.window.stop, "seconds": replay.window.seconds},
        "currency": evaluation.quote,
        "net_return": evaluation.performance.total_return,
        "final_equity": str(ledger.last.equity),
        "performance": asdict(evaluation.performance),
        "costs": evaluation.costs.figures() | {"funding_by_cause": _causes(ledger)},
        "trading": asdict(evaluation.trading),
        "baselines": {
            b.name: {"net_return": b.total_return, "fees": b.fees, "fills": b.fills} for b in evaluation.baselines
        },
        "significance": {
            "deflated_sharpe": evaluation.deflated_sharpe,
            "trials": evaluation.trials,
            "net_return_interval": asdict(evaluation.interval),
        },
        "calibration": asdict(evaluation.calibration) if evaluation.calibration else None,
        "verdict": verdict(evaluation),
        "liquidations": len(ledger.liquidations),
        "decisions": ledger.decisions,
        "safe_decisions": ledger.safe,
        "orders": ledger.orders,
        "order_outcomes": ledger.outcomes,
        "limits_that_bound": ledger.bounds,
        "alerts": ledger.alerts,
        "kills": ledger.kills,
        "assumptions": dict(assumptions(evaluation)),
        "note": NO_PROMISE,
    }


def result_lines(evaluation: Evaluation) -> list[str]:
    """Ten lines for a terminal of 100 columns: the result net of costs beside what doing little would have earned."""
    ledger, found, costs = evaluation.result.ledger, evaluation.performance, evaluation.costs
    quote = evaluation.quote
    cash = float(ledger.equity[0])
    names = ", ".join(feed.instrument.id for feed in evaluation.result.replay.feeds)
    return [
        f"{names}: {duration(found.end_ns - found.start_ns)}, {ledger.decisions} decisions, {ledger.orders} orders, "
        f"{len(ledger.fills)} fills",
        _row("strategy, net of costs", found.total_return, cash, quote) + f"   worst fall {found.max_drawdown:.3%}",
        *_baseline_rows(evaluation, cash),
        f"costs: {_money(costs.gross)} {quote} before them, spread {_money(-costs.spread)}, "
        f"slippage {_money(-costs.slippage)}, impact {_money(-costs.impact)}, fees {_money(-costs.fees)}, "
        f"funding {_money(costs.funding)}",
        f"luck: {evaluation.interval.level:.0%} interval of the net return {evaluation.interval.low:+.3%} to "
        f"{evaluation.interval.high:+.3%}, deflated Sharpe probability {_share(evaluation.deflated_sharpe)} "
        f"({count(evaluation.trials, 'trial')})",
        f"assumes: {assumption_line(evaluation)}",
        NO_PROMISE,
    ]


def duration(nanoseconds: int) -> str:
    """A length of time for people."""
    seconds = nanoseconds / SECOND
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _baseline_rows(evaluation: Evaluation, cash: float) -> list[str]:
    rows = {baseline.name: baseline for baseline in evaluation.baselines}
    made = []
    for name in ("flat", "buy and hold", "buy and hold, all equity", "volatility target"):
        text = _PLAIN.get(name, name)
        if name in rows:
            made.append(_row(text, rows[name].total_return, cash, evaluation.quote))
        else:
            made.append(f"{text:<26} not estimated: too little tape before the window")
    return made


def _row(name: str, total: float, cash: float, quote: str) -> str:
    return f"{name:<26} {signed(total, '.3%'):>9} {signed(total * cash, ',.2f'):>12} {quote}"


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _money(value: Decimal) -> str:
    return signed(float(value), ",.2f")


def _causes(ledger: Ledger) -> dict[str, float]:
    """Payments by cause: funding, borrow, insurance."""
    found: dict[str, float] = {}
    for payment in ledger.funding:
        found[payment.cause] = found.get(payment.cause, 0.0) + float(payment.amount)
    return found


def _interval(ms: int) -> str:
    return f"{ms} ms" if ms < 10_000 else duration(ms * MS)


def _bps(fee: Decimal) -> str:
    return f"{float(fee) * 1e4:g}"
