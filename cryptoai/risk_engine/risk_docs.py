"""docs/risk.md, written from the limits and the emergency table; scripts/generate.py calls `render`.

A limit without a line here, or a line without its limit, fails a test. Imported by nothing that trades.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptoai.core.config import RiskConfig
from cryptoai.risk_engine.emergency import Stage, diagram
from cryptoai.risk_engine.limits import LIMITS

__all__ = ["LINES", "Line", "render"]


class Line(NamedTuple):
    """`formula` in words and symbols; `unit` of `wanted` and `allowed` in a verdict; `missing` is what happens when the
    input is unknown; `keys` of the configuration's `risk` section."""

    formula: str
    unit: str
    missing: str
    keys: tuple[str, ...] = ()


_SIZE = "position"
_MODE = "words"
LINES: dict[str, Line] = {
    "max_position": Line("N ≤ max_position_pct × E", _SIZE, "no quote: denied", ("max_position_pct",)),
    "max_leverage": Line("N + ΣN of the others ≤ max_leverage × E", _SIZE, "no mark: denied", ("max_leverage",)),
    "event_risk": Line(
        "while a classified event of at least event_severity is in force: both limits above × event_leverage_share",
        _SIZE,
        "no events known: not in force",
        ("event_severity", "event_leverage_share"),
    ),
    "stress": Line(
        "anomaly a in (½, 1]: both limits above × (1 − (2a − 1)(1 − stress_leverage_share))",
        _SIZE,
        "no anomaly score: nothing, but then there is no forecast either (tail_loss)",
        ("stress_leverage_share",),
    ),
    "drawdown": Line(
        "(peak − E) / peak ≥ max_drawdown_pct: position 0, at once; the kernel engages the kill switch",
        "share",
        "no equity or peak above 0: breached",
        ("max_drawdown_pct",),
    ),
    "daily_loss": Line(
        "(E at 00:00 UTC − E) / E at 00:00 ≥ max_daily_loss_pct: reduce-only",
        "share",
        "no equity at 00:00 above 0: breached",
        ("max_daily_loss_pct",),
    ),
    "stop_loss": Line(
        "loss / worth at entry ≥ stop_loss_pct: position 0, at once",
        "share",
        "entry unknown: position 0",
        ("stop_loss_pct",),
    ),
    "cooldown": Line("cooldown_s after a stop loss: reduce-only", _MODE, "cannot be", ("cooldown_s",)),
    "stale_data": Line(
        "age of the newest quote > max_data_age_s: reduce-only", "s", "no quote: denied", ("max_data_age_s",)
    ),
    "volatility": Line(
        "σ of one day × N ≤ max_volatility_pct × E", _SIZE, "σ unknown: reduce-only", ("max_volatility_pct",)
    ),
    "volume": Line(
        "notional added ≤ volume_share × turnover of the last minute",
        _SIZE,
        "turnover unknown: reduce-only",
        ("volume_share",),
    ),
    "tail_loss": Line("ES99 × N ≤ max_tail_loss_pct × E", _SIZE, "no forecast: reduce-only", ("max_tail_loss_pct",)),
    "portfolio_loss": Line(
        "√(Σ r_jk e_j e_k) ≤ max_portfolio_loss_pct × E with e = ES99 × N; others among themselves r = 1, hedges r = 0",
        _SIZE,
        "a forecast of any position: reduce-only; r: 1",
        ("max_portfolio_loss_pct",),
    ),
    "correlated": Line("N + Σ r⁺ N of the others ≤ max_correlated_pct × E", _SIZE, "r: 1", ("max_correlated_pct",)),
    "funding_cost": Line(
        "the side that pays more than max_funding_bps within funding_horizon_s: reduce-only",
        "bp",
        "rate unknown: no veto; time unknown: soon",
        ("max_funding_bps", "funding_horizon_s"),
    ),
    "order_rate": Line(
        "max_orders_per_minute orders that added: reduce-only", "orders", "cannot be", ("max_orders_per_minute",)
    ),
    "kill_switch": Line("engaged: reduce-only; at once unless positions are kept", _MODE, "unreadable: engaged"),
    "black_swan": Line("alarm of the tail models: reduce-only", _MODE, "no model: no forecast (tail_loss)"),
    "out_of_distribution": Line("anomaly > 1: reduce-only", "distance", "no model: no forecast (tail_loss)"),
    "spot_short": Line("a spot balance is not negative: position 0", _SIZE, "cannot be"),
    "reversal": Line("an order that would cross zero ends at zero", _SIZE, "cannot be"),
    "unreconciled": Line("the venue shows what the journal does not explain: no order", _MODE, "not asked yet: none"),
    "open_order": Line("one order per instrument at a time", "orders", "cannot be"),
    "depth_share": Line(
        "an adding order ≤ depth_share × quantity at the touch", _SIZE, "nothing shown: no order", ("depth_share",)
    ),
    "min_notional": Line("an order ≥ the venue's least notional, unless it closes", "quote", "cannot be"),
    "price_collar": Line("|price − mid| / mid ≤ price_collar_bps", "bp", "no price: no order", ("price_collar_bps",)),
    "denied": Line("NaN, missing or contradicting input, an error of the judge: no order", _MODE, "denied"),
}

_INTRO = """\
<!-- Made by scripts/generate.py from cryptoai/risk_engine/risk_docs.py; edit that, then run it. -->
# Risk

Every order in every mode comes from `risk_engine.judge`: proposal, quote, account, limits and context in, a verdict and
at most one sealed `ApprovedOrder` out. It is a pure function that never raises. Property tests hold it to three
promises for linear and inverse contracts: it only shrinks; a tighter limit never allows more; what it cannot judge it
denies.

A verdict lists every limit that would bind alone, with what was wanted and what that limit allows; the smallest holds.
Reduce-only means that the position may stay or shrink. Leaving is held back by neither depth, volume nor order rate.

## Units

E is equity and N the notional of the position at mid, both in the settlement currency of the account: quote, or the
base coin if the contracts are inverse. Positions are base units, or contracts of an inverse instrument, for which
N = contracts × contract size / mid. Turnover and the venue's least notional are quote. Loss limits of an inverse
account therefore count coin: a fall of the price by r costs a long r / (1 − r) of its notional, and ES99 is taken so;
a short is given no credit for losing r / (1 + r). The stop loss compares with the coin that the position was worth at
its entry. Coin held as margin has a price of its own, which none of this hedges.

## Limits

None has an off switch. The order of the list is the order of the verdict.
"""

_CANDLES = """\
## Candles

A replay of candles has no book to measure. The market then tells the judge of the bars themselves: volatility is the
root mean square of the last 24 close-to-close returns (unknown before 12) or the range of the last bar if that moved
more (Parkinson 1980), scaled to a day; turnover is the last bar's volume at its close, a minute's share of it; funding
comes from its tape. Set `risk.max_data_age_s` no shorter than a bar if decisions fall between two of them.
"""

_EMERGENCY = f"""\
## Emergency protocol

The kill switch is engaged by a drawdown, by a person (`cryptoai kill`), by the operator, or by a file that cannot be
read. It is a latch: only a person's release with a name and a reason opens it, a restart does not. What follows is a
state machine (`risk_engine.emergency`) whose every transition is a record of kind `emergency` in the journal.

{Stage.__doc__}

An error is no event: what cannot be done or known keeps the stage and is tried again at the next step, with an alert.
`HALTED` is entered only when the venue itself confirmed. A late fill starts the protocol again.

The action `flatten` (default) closes all positions at once, inside the price collar. `cancel` keeps them: orders are
cancelled, the model goes on and may only reduce, stop losses still close. An action in force may become stricter, never
weaker; a drawdown makes `cancel` a `flatten`. With `cancel` the stage FLATTENING is skipped.

```mermaid
{diagram()}
```

## Alerts

| Alert | Severity | When |
|---|---|---|
| `kill` | critical | the switch was engaged; a drawdown always comes this way |
| `kill_not_saved` | critical | it is engaged in memory, but the file could not be written |
| `position_mismatch`, `verification_failed` | critical | the venue holds something else, or cannot be asked |
| `liquidation` | critical | the venue closed a position: every limit failed |
| `daily_loss` | warning | the day's loss reached its limit |
| `stop_loss` | warning | a position is being closed |
| `stale_data`, `model_unavailable`, `risk_denial`, `venue_unavailable` | warning | once per episode |
| `flat_verified`, `cancel_verified` | info | the protocol is at rest |
"""


def render() -> str:
    """The whole page; KeyError if a limit has no line."""
    names = [name for name, _ in LIMITS]
    ordered = [*names, *(name for name in LINES if name not in names)]
    table = ["| Limit | Holds when | Default | Unit in verdicts | Input missing |", "|---|---|---|---|---|"]
    table += [_row(name, LINES[name]) for name in ordered]
    return "\n".join([_INTRO, *table, "", _CANDLES, _EMERGENCY])


def _row(name: str, line: Line) -> str:
    defaults = ", ".join(f"`{key}` {_default(key)}" for key in line.keys)
    return f"| `{name}` | {line.formula} | {defaults or 'always'} | {line.unit} | {line.missing} |"


def _default(key: str) -> str:
    return f"{RiskConfig.model_fields[key].default:g}"
