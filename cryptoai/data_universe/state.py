"""The state at decision time: features of the market, the bot's own portfolio merged in, packed as a `StateVector`.

Bots call `build` where the engine runs beside them; where the market part comes from the feature store, they `merge`.
This is the named border at which float64 becomes float32. A missing number is never replaced by a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import AccountView, Quote
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.features import FeatureEngine

__all__ = ["build", "merge", "portfolio"]

_NAN = math.nan
_PORTFOLIO = schema.group_slice("portfolio")
_ORDER = schema.NAMES[_PORTFOLIO]


def build(engine: FeatureEngine, now_ns: int, held: Sequence[float] | None = None) -> StateVector:
    """The engine's features at `now_ns`; `held` is what `portfolio` returned, None masks the portfolio group."""
    values, mask, event_time = engine.emit(now_ns)
    state = StateVector.of(
        engine.instrument.id, (event_time, now_ns), schema.SCHEMA_HASH, values.tolist(), mask.tolist()
    )
    return state if held is None else merge(state, held)


def merge(state: StateVector, held: Sequence[float]) -> StateVector:
    """`state` with its portfolio group set to `held` (8 floats, NaN is missing)."""
    if state.schema_hash != schema.SCHEMA_HASH:
        raise DataError(f"state of schema {state.schema_hash} met schema {schema.SCHEMA_HASH}; rebuild its features")
    values, mask = state.floats(), state.present()
    values[_PORTFOLIO], mask[_PORTFOLIO] = list(held), [math.isfinite(x) for x in held]
    return StateVector.of(state.instrument, (state.event_time, state.known_at), state.schema_hash, values, mask)


def portfolio(
    instrument: Instrument, account: AccountView, quote: Quote | None, max_position_pct: float
) -> list[float]:
    """The portfolio group at `account.time`, 8 floats in schema order; NaN where missing.

    `max_position_pct` is the risk budget of one instrument as a share of equity.
    """
    named = {**_from_account(account), **_from_position(instrument, account, quote, max_position_pct)}
    return [named[name] for name in _ORDER]


def _from_account(account: AccountView) -> dict[str, float]:
    equity, peak = float(account.equity), float(account.peak_equity)
    solvent = equity > 0 and peak > 0
    filled = 0 < account.last_fill_time <= account.time
    return {
        "drawdown": 1 - equity / peak if solvent else _NAN,
        "cash_share": float(account.cash) / equity if solvent else _NAN,
        "open_orders": math.log1p(account.open_orders),
        "fill_age": math.log1p((account.time - account.last_fill_time) / SECOND) if filled else _NAN,
    }


def _from_position(
    instrument: Instrument, account: AccountView, quote: Quote | None, max_position_pct: float
) -> dict[str, float]:
    equity = float(account.equity)
    if quote is None or equity <= 0 or max_position_pct <= 0:
        return dict.fromkeys(("position_share", "unrealised_return", "unrealised_share", "leverage_used"), _NAN)
    mid, qty = float(quote.mid), float(account.positions[instrument.id]) if instrument.id in account.positions else 0.0
    entry = float(account.entry_prices[instrument.id]) if instrument.id in account.entry_prices else mid
    worth = _notional(instrument, qty, mid)
    gain = _gain(instrument, qty, entry, mid)
    others = _others(instrument, account)
    return {
        "position_share": max(-1.0, min(1.0, worth / (max_position_pct * equity))),
        "unrealised_return": 1e4 * gain / abs(_notional(instrument, qty, entry)) if qty else 0.0,
        "unrealised_share": 1e4 * gain / equity,
        "leverage_used": (abs(worth) + others) / equity,
    }


def _others(instrument: Instrument, account: AccountView) -> float:
    """Notional of the other positions at their entries; NaN if inverse, because their contract sizes are not told."""
    sizes = [
        abs(float(held)) * float(account.entry_prices[name])
        for name, held in account.positions.items()
        if name != instrument.id and name in account.entry_prices
    ]
    return _NAN if sizes and instrument.contract is Contract.INVERSE else sum(sizes)


def _notional(instrument: Instrument, qty: float, price: float) -> float:
    """In the settlement currency, like equity: quote, or coin if inverse."""
    return qty * float(instrument.contract_size) / price if instrument.contract is Contract.INVERSE else qty * price


def _gain(instrument: Instrument, qty: float, entry: float, mid: float) -> float:
    """In the settlement currency."""
    if instrument.contract is Contract.INVERSE:
        return qty * float(instrument.contract_size) * (1 / entry - 1 / mid)
    return qty * (mid - entry)
