"""What columns are called in the wild: one table of aliases, compared without case, spaces and signs.

The importer finds a column by its meaning here. An alias belongs to one meaning only; a name that means different
things at different venues is not in the table, so that a user must say what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["MEANINGS", "plain_symbol", "recognised"]

_TABLE = """
time           timestamp time datetime date ts event_time calc_time create_time funding_time open_time opentime
               start_time transaction_time trade_time funding_rate_timestamp settlement_time t ts_event unix
               unix_time epoch
known          local_timestamp known_at received received_at recv_time receive_time local_time ts_recv ingest_time
symbol         symbol coin instrument instrument_id instid inst_id pair ticker market contract instrument_name s
rate           funding_rate rate last_funding_rate funding fundingrate realized_rate realised_rate fr r
               settled_funding_rate
mean_rate      funding_mean mean_funding avg_funding funding_avg mean_funding_rate average_funding_rate
predicted      predicted_funding_rate next_funding_rate indicative_funding_rate estimated_funding_rate
next_time      next_funding_time funding_timestamp next_funding_timestamp next_settle_time next_time
interval_hours funding_interval_hours interval_hours funding_interval interval_h
interval_s     interval_s interval_seconds funding_interval_s
mark           mark_price mark markprice markpx mark_px
index          index_price index indexprice index_px oracle_price oracle_px underlying_price
contracts      open_interest sum_open_interest oi open_interest_amount openinterest oi_contracts contracts
notional_oi    sum_open_interest_value open_interest_value oi_value oi_usd open_interest_usd oi_notional notional
               open_interest_notional oiusd oiccyusd
ratio          long_short_ratio longshortratio count_long_short_ratio ls_ratio long_short_account_ratio
               buy_sell_ratio
open           open o open_price
high           high h high_price
low            low l low_price
close          close c close_price
volume         volume vol v base_volume volume_base amount_base
side           side direction liquidation_side order_side position_side
price          price px average_price avg_price liquidation_price order_price bkpx
qty            qty quantity size sz amount original_quantity accumulated_fill_quantity liquidated_amount
               liquidation_amount
notional       liquidated_ntl_pos liquidated_notional notional_usd liquidation_notional value_usd
"""


def _meanings() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    meaning = ""
    for line in _TABLE.splitlines():
        words = line.split()
        if line[:1].strip():
            meaning, *words = words
        found[meaning] = (*found.get(meaning, ()), *words)
    return {name: words for name, words in found.items() if name}


MEANINGS: Mapping[str, tuple[str, ...]] = _meanings()
"""Names of each meaning, the preferred first."""


def recognised(columns: Iterable[str]) -> dict[str, str]:
    """Meaning -> column, for every meaning that has one."""
    there = {_bare(column): column for column in reversed(list(columns))}
    found = {}
    for meaning, names in MEANINGS.items():
        for name in names:
            if _bare(name) in there:
                found[meaning] = there[_bare(name)]
                break
    return found


def plain_symbol(symbol: str) -> str:
    """`BTC/USDT:USDT`, `btc_usdt` and `BTC-USDT` are `BTCUSDT`; what an exchange adds (`-SWAP`, `_PERP`) stays."""
    pair = re.fullmatch(r"([A-Za-z0-9]+)[/_-]([A-Za-z]+)(:[A-Za-z]+)?", symbol.strip())
    if pair and pair[2].upper() not in ("PERP", "SWAP", "PERPETUAL"):
        return (pair[1] + pair[2]).upper()
    return symbol.strip().upper()


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
