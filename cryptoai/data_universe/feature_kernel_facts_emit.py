"""The reading of facts: numbers of the state vector out of a `FactMemory`, at one moment.

`features.FeatureEngine` calls `emit_facts`; the names stand beside the code that computes them, formulas in `schema`.
A fact that is older than the limit of its kind is as if it were absent; nothing is carried on in its place.
"""

from __future__ import annotations

import math

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.events import Ints
from cryptoai.data_universe.feature_kernel_facts import (
    BLOCK,
    CATEGORY,
    CONFIDENCE,
    CONTRACTS,
    DAYS,
    EXPIRY_DATE,
    FIRST,
    FORCED,
    FORCED_SLOT,
    FORCED_SLOTS,
    FUNDING,
    FUNDING_INTERVAL,
    FUNDING_RATE,
    INDEX_PRICE,
    INTEREST,
    INTEREST_NOTIONAL,
    INTEREST_SLOT,
    INTEREST_SLOTS,
    KNOWN,
    LISTING,
    LONG_SHORT,
    MACRO_DATE,
    MAINTENANCE_DATE,
    MARK,
    MARK_PRICE,
    MOMENT,
    NEWS,
    POSITIONING,
    PREDICTED,
    PREDICTED_RATE,
    SENTIMENT,
    SEVERITY,
    STORIES,
    UNLOCK_DATE,
    WHALE_SLOT,
    WHALE_SLOTS,
    WHALES,
    FactMemory,
)  # fmt: skip
from cryptoai.data_universe.feature_kernel_micro import Reals, inner
from cryptoai.data_universe.jit import njit
from cryptoai.data_universe.market_events.taxonomy import category
from cryptoai.data_universe.onchain.metrics import DAY, metric

__all__ = ["FROM_FACTS", "emit_facts"]

DERIVATIVES = (
    "funding_rate", "funding_predicted", "funding_time", "mark_premium", "open_interest", "open_interest_change_5m",
    "long_liquidations_1m", "short_liquidations_1m", "long_short_ratio",
)  # fmt: skip
_PLAIN = ("transactions", "active_addresses", "hash_rate", "stablecoin_supply")
_CHANGED = (*_PLAIN, "fees", "transfer_value", "exchange_inflow", "exchange_outflow")
CHAIN = (
    *(f"{name}_1d" for name in _CHANGED), *(f"{name}_change_7d" for name in _CHANGED),
    "stablecoin_inflow_1d", "mvrv", "nvt", "sopr", "mempool_size", "fee_rate", "block_age", "whale_transfers_1h",
)  # fmt: skip
EVENTS = (
    "macro_time_to", "macro_time_since", "unlock_time_to", "expiry_time_to", "maintenance_time_to", "news_count_1h",
    "news_sentiment_1h", "news_sentiment_1d", "news_severity_1h", "news_burst_1h", "distress_1d", "listing_news",
    "venue_incident", "network_incident", "regulatory_1d", "fear_greed",
)  # fmt: skip
FROM_FACTS = (*DERIVATIVES, *CHAIN, *EVENTS)
"""Names of what `emit_facts` writes, in its order."""

_MINUTE, _HOUR = 60 * SECOND, 3_600 * SECOND
_CHAIN_AT = len(DERIVATIVES)
_EVENTS_AT = _CHAIN_AT + len(CHAIN)
_LEVELS = tuple(metric(name) for name in _CHANGED)
_INFLOW, _MARKET, _REALISED, _MOVED, _SOPR = (
    metric(n) for n in ("stablecoin_inflow", "market_value", "realised_value", "transfer_value", "sopr")
)
_MEMPOOL, _FEE_RATE, _FEAR = metric("mempool_size"), metric("fee_rate"), metric("fear_greed")
_DISTRESS = tuple(category(name) for name in ("hack", "depeg", "insolvency"))
_LAW = tuple(category(name) for name in ("regulation", "enforcement"))
_VENUE, _NETWORK = category("venue_incident"), category("network_incident")


@njit(error_model="numpy")
def emit_facts(memory: FactMemory, now: int, worth: float, out: Reals) -> None:
    """Writes float64[len(FROM_FACTS)] as known at `now`.

    `worth` is the value of one contract of open interest in quote units, NaN while it is not known.
    """
    for k in range(len(out)):
        out[k] = math.nan
    _funding(memory, now, out)
    _positions(memory, now, worth, out[3:_CHAIN_AT])
    _forced(memory, now, out[6:8])
    _days(memory, now, out[_CHAIN_AT:_EVENTS_AT])
    _blocks(memory, now, out[_CHAIN_AT + 20 : _EVENTS_AT])
    if _fresh(memory, NEWS, now, DAY):
        _dates(memory, now, out[_EVENTS_AT:])
        _news(memory, now, out[_EVENTS_AT:])
    out[_EVENTS_AT + 15] = _daily(memory, _FEAR, now) / 100.0


@inner
def _fresh(memory: FactMemory, row: int, now: int, limit: int) -> bool:
    return bool(memory.times[row, KNOWN] >= 0 and now - memory.times[row, KNOWN] <= limit)


@inner
def _seen_whole(memory: FactMemory, row: int, now: int, span: int) -> bool:
    return bool(memory.times[row, FIRST] >= 0 and now - memory.times[row, FIRST] >= span)


@inner
def _funding(memory: FactMemory, now: int, out: Reals) -> None:
    paid, interval = memory.times[FUNDING, MOMENT], memory.last[FUNDING_INTERVAL]
    current = paid >= 0 and interval > 0 and (now - paid) * 1e-9 <= 2.0 * interval
    following = math.nan
    if current:
        out[0] = 1e4 * memory.last[FUNDING_RATE] * 28_800.0 / interval
        following = (paid - now) * 1e-9 + interval
    if _fresh(memory, PREDICTED, now, 15 * _MINUTE):
        out[1] = 1e4 * memory.last[PREDICTED_RATE]
        if memory.times[PREDICTED, MOMENT] >= now:
            following = (memory.times[PREDICTED, MOMENT] - now) * 1e-9
    out[2] = math.log1p(max(0.0, following) / 3_600.0) if not math.isnan(following) else math.nan


@inner
def _positions(memory: FactMemory, now: int, worth: float, out: Reals) -> None:
    last = memory.last
    if _fresh(memory, MARK, now, 5 * _MINUTE):
        out[0] = 1e4 * math.log(last[MARK_PRICE] / last[INDEX_PRICE])
    if _fresh(memory, INTEREST, now, 15 * _MINUTE):
        notional = last[INTEREST_NOTIONAL]
        if math.isnan(notional):
            notional = last[CONTRACTS] * worth
        out[1] = math.log(notional) if notional > 0 else math.nan
        out[2] = _interest_change(memory, now)
    if _fresh(memory, POSITIONING, now, _HOUR):
        out[5] = math.log(last[LONG_SHORT])


@inner
def _interest_change(memory: FactMemory, now: int) -> float:
    """In contracts where both readings have them, else in value; the earlier one may be 15 min old by then."""
    then = now // INTEREST_SLOT - 5 * _MINUTE // INTEREST_SLOT
    for slot in range(then, then - 15 * _MINUTE // INTEREST_SLOT, -1):
        if slot >= 0 and memory.interest_slots[slot % INTEREST_SLOTS] == slot:
            before = memory.interest[slot % INTEREST_SLOTS]
            by_count = math.log(memory.last[CONTRACTS] / before[0])
            return by_count if math.isfinite(by_count) else math.log(memory.last[INTEREST_NOTIONAL] / before[1])
    return math.nan


@inner
def _forced(memory: FactMemory, now: int, out: Reals) -> None:
    if not (_fresh(memory, FORCED, now, _HOUR) and _seen_whole(memory, FORCED, now, _MINUTE)):
        return
    longs = shorts = 0.0
    for slot in range(now // FORCED_SLOT - 59, now // FORCED_SLOT + 1):
        at = slot % FORCED_SLOTS
        if memory.forced_slots[at] == slot:
            longs += memory.forced[at, 0]
            shorts += memory.forced[at, 1]
    out[0], out[1] = math.log1p(longs), math.log1p(shorts)


@inner
def _daily(memory: FactMemory, index: int, now: int) -> float:
    """The newest day's value; NaN where none is known or its day began more than 4 days ago."""
    return (
        memory.chain[index]
        if memory.chain_times[index] >= 0 and now - memory.chain_times[index] <= 4 * DAY
        else math.nan
    )


@inner
def _logarithm(k: int, value: float) -> float:
    """Stocks by ln, flows (which may be 0) by log1p."""
    if k < len(_PLAIN):
        return math.log(value) if value > 0 else math.nan
    return math.log1p(value) if value >= 0 else math.nan


@inner
def _week(memory: FactMemory, k: int, index: int) -> float:
    """Mean of the logarithm over the newest day and the six before; NaN if one of them is not known."""
    newest, total = memory.chain_times[index] // DAY, 0.0
    for day in range(newest - 6, newest + 1):
        at = day % DAYS
        total += _logarithm(k, memory.daily[index, at]) if memory.days[index, at] == day else math.nan
    return total / 7.0


@inner
def _days(memory: FactMemory, now: int, out: Reals) -> None:
    for k in range(len(_LEVELS)):
        out[k] = _logarithm(k, _daily(memory, _LEVELS[k], now))
        out[8 + k] = out[k] - _week(memory, k, _LEVELS[k])
    out[16] = math.log1p(_daily(memory, _INFLOW, now))
    market, realised, moved = (
        _daily(memory, _MARKET, now),
        _daily(memory, _REALISED, now),
        _daily(memory, _MOVED, now),
    )
    out[17] = market / realised
    out[18] = math.log(market / moved)
    out[19] = _daily(memory, _SOPR, now)


@inner
def _blocks(memory: FactMemory, now: int, out: Reals) -> None:
    for k, index in enumerate((_MEMPOOL, _FEE_RATE)):
        if memory.chain_times[index] >= 0 and now - memory.chain_times[index] <= _HOUR:
            out[k] = math.log1p(memory.chain[index])
    if _fresh(memory, BLOCK, now, 6 * _HOUR):
        out[2] = math.log1p((now - memory.times[BLOCK, MOMENT]) * 1e-9)
    if _fresh(memory, WHALES, now, DAY) and _seen_whole(memory, WHALES, now, _HOUR):
        count = 0
        for slot in range(now // WHALE_SLOT - 59, now // WHALE_SLOT + 1):
            if memory.whale_slots[slot % WHALE_SLOTS] == slot:
                count += memory.whales[slot % WHALE_SLOTS]
        out[3] = math.log1p(count)


@inner
def _until(moments: Ints, now: int, scale: float) -> float:
    """exp(-time to the next of these moments / scale in s); 0 if none is announced."""
    nearest = math.inf
    for k in range(len(moments)):
        if moments[k] > now:
            nearest = min(nearest, (moments[k] - now) * 1e-9)
    return math.exp(-nearest / scale)


@inner
def _dates(memory: FactMemory, now: int, out: Reals) -> None:
    hour, day = 3_600.0, 86_400.0
    out[0] = _until(memory.scheduled[MACRO_DATE], now, hour)
    out[2] = _until(memory.scheduled[UNLOCK_DATE], now, day)
    out[3] = _until(memory.scheduled[EXPIRY_DATE], now, hour)
    out[4] = _until(memory.scheduled[MAINTENANCE_DATE], now, hour)
    since = math.inf
    for k in range(memory.scheduled.shape[1]):
        moment = memory.scheduled[MACRO_DATE, k]
        if 0 < moment <= now:
            since = min(since, (now - moment) * 1e-9)
    out[1] = math.exp(-since / hour)
    out[11] = 0.0
    if memory.times[LISTING, KNOWN] >= 0:
        out[11] = math.exp((memory.times[LISTING, KNOWN] - now) * 1e-9 / day)


@inner
def _news(memory: FactMemory, now: int, out: Reals) -> None:
    """One pass over the stories of the last day, newest first."""
    hour_count = day_count = law = 0
    severity = distress = venue = network = 0.0
    tone, weight = (0.0, 0.0), (0.0, 0.0)
    for back in range(1, min(memory.number[0], STORIES) + 1):
        at = (memory.number[0] - back) % STORIES
        age = now - memory.told[at]
        if age > DAY:
            break
        story = memory.stories[at]
        kind, belief = int(story[CATEGORY]), story[CONFIDENCE]
        tone = (tone[0], tone[1] + belief * story[SENTIMENT])
        weight = (weight[0], weight[1] + belief)
        day_count += 1
        law += 1 if kind in _LAW else 0
        distress = max(distress, story[SEVERITY]) if kind in _DISTRESS else distress
        faded = story[SEVERITY] * math.exp(-age * 1e-9 / 3_600.0)
        venue = max(venue, faded) if kind == _VENUE else venue
        network = max(network, faded) if kind == _NETWORK else network
        if age <= _HOUR:
            hour_count += 1
            severity = max(severity, story[SEVERITY])
            tone, weight = (tone[1], tone[1]), (weight[1], weight[1])
    if _seen_whole(memory, NEWS, now, _HOUR):
        out[5], out[8], out[12], out[13] = math.log1p(hour_count), severity, venue, network
        out[6] = tone[0] / weight[0]
    if _seen_whole(memory, NEWS, now, DAY):
        out[7] = tone[1] / weight[1]
        out[9] = math.log((hour_count + 1.0) / (day_count / 24.0 + 1.0))
        out[10], out[14] = distress, math.log1p(law)
