"""The 200 features of the state vector: the only place where one is declared.

The kernel computes them, the feature store stores them, the encoders read them by group and docs/features.md is written
from here. A feature whose `source` feed is absent is masked as missing; nothing may ever be invented in its place.
Changing a name, formula, unit or window, or the order, changes SCHEMA_HASH, and every older bundle refuses the state.
"""

# ruff: noqa: E501  -- a declaration is one line, as in a table
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptoai.core.errors import DataError
from cryptoai.core.ids import content_hash

__all__ = [
    "FEATURES",
    "GROUPS",
    "NAMES",
    "SCHEMA_HASH",
    "SOURCES",
    "STORED_GROUPS",
    "WIDTH",
    "Feature",
    "group_slice",
    "index",
]

SIZES = {
    "flow": 64,
    "liquidity": 32,
    "derivatives": 32,
    "onchain": 24,
    "events": 16,
    "asset": 16,
    "regime": 8,
    "portfolio": 8,
}
GROUPS = tuple(SIZES)
"""Group names in the order of the vector."""
STORED_GROUPS = tuple(name for name in GROUPS if name != "portfolio")
"""What the feature store keeps; the portfolio belongs to one bot and is merged when a decision is asked for."""

SOURCES = {
    "book": "the instrument's own order book and best quotes",
    "trades": "the instrument's own trades",
    "spot": "book, quotes and trades of the spot companion, known beside the instrument's own",
    "registry": "the asset registry and the clock",
    "account": "the bot's account at the moment of the decision",
    "funding": "funding rates of the perpetual",
    "mark": "mark and index prices",
    "open_interest": "open interest of the perpetual",
    "liquidations": "forced orders",
    "positioning": "long/short ratios published by the venue",
    "onchain": "a node or a chain data provider (`onchain.metrics`)",
    "news": "classified news, announcements and status messages (`market_events.taxonomy`)",
}
"""Every feed that a feature may name."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of the state vector.

    `window` is a span such as '5 s', or 'now'; `missing` says when the mask is 0 although the feed is there.
    In formulas: b, a are best bid and ask, qb, qa their sizes, m = (a+b)/2, s the aggressor's sign, q a quantity, p a price,
    N a notional in quote units, x a signed one; E_W is a sum that decays with exp(-age/W), S_W a sum over the last W of 100 ms slots,
    r a slot's log return of m; log1p(x) = ln(1+x), slog(x) = sign(x) log1p(|x|).
    """

    name: str
    group: str
    formula: str
    unit: str
    window: str
    source: str
    missing: str
    reference: str


COLD = "before the window was seen whole since the start or the last gap"
LEVEL_COLD = "as cold, or before a whole book is known"
NO_TRADES = "as cold, or fewer than 0.05 effective trades in the window"
NO_BOOK = "before a whole book is known"
NO_TOUCH = "before the first valid best quotes"
NO_QUOTES = "before both touches are known"
UNMOVED = "as cold, or nothing moved"

CONT = "Cont, Kukanov & Stoikov 2014, The price impact of order book events"
MLOFI = "Xu, Gould & Howison 2019, Multi-level order-flow imbalance; Cont, Cucuringu & Zhang 2023"
CHORDIA = "Chordia, Roll & Subrahmanyam 2002, Order imbalance, liquidity and market returns"
HASBROUCK = "Hasbrouck 2007, Empirical Market Microstructure"
HAWKES = "Bacry, Mastromatteo & Muzy 2015, Hawkes processes in finance"
LILLO = "Lillo & Farmer 2004, The long memory of the efficient market"
VPIN = "Easley, Lopez de Prado & O'Hara 2012, Flow toxicity and liquidity in a high-frequency world"
KYLE = "Kyle 1985, Continuous auctions and insider trading"
EISLER = "Eisler, Bouchaud & Kockelkoren 2012, The price impact of order book events: market orders, limit orders and cancellations"
STOIKOV = "Stoikov 2018, The micro-price"
GOULD = "Gould & Bonart 2016, Queue imbalance as a one-tick-ahead price predictor"
SLOPE = "Naes & Skjeltorp 2006, Order book characteristics and the volume-volatility relation"
IRVINE = "Irvine, Benston & Kandel 2000, Liquidity beyond the inside spread"
AMIHUD = "Amihud 2002, Illiquidity and stock returns"
ROLL = "Roll 1984, A simple implicit measure of the effective bid-ask spread"
ANDERSEN = "Andersen, Bollerslev, Diebold & Labys 2003, Modeling and forecasting realized volatility"
BNS = "Barndorff-Nielsen & Shephard 2004, Power and bipower variation"
SEMI = "Barndorff-Nielsen, Kinnebrock & Shephard 2010, Measuring downside risk: realised semivariance"
LO = "Lo & MacKinlay 1988, Stock market prices do not follow random walks"
KAUFMAN = "Kaufman 1995, Smarter Trading"
BASIS = "Makarov & Schoar 2020, Trading and arbitrage in cryptocurrency markets"
LEADLAG = "Alexander & Heck 2020, Price discovery in Bitcoin"
FUNDING = "He, Manela, Ross & von Wachter 2022, Fundamentals of perpetual futures"
HONG = "Hong & Yogo 2012, What does futures market interest tell us"
CASCADE = "Brunnermeier & Pedersen 2009, Market liquidity and funding liquidity"
CHAIN = "Liu & Tsyvinski 2021, Risks and returns of cryptocurrency"
COIN = "Coin Metrics 2023, network data methodology"
RESILIENCE = "Kempf, Mayston & Yadav 2009, Resiliency in limit order book markets: a dynamic view"
OOMEN = "Gatheral & Oomen 2010, Zero-intelligence realized variance estimation"
MEMPOOL = "Easley, O'Hara & Basu 2019, From mining to markets: the evolution of bitcoin transaction fees"
WHALES = "Griffin & Shams 2020, Is Bitcoin really untethered"
BURST = "Barber & Odean 2008, All that glitters: attention and news"
LISTING = "Ante 2019, Market reaction to exchange listings of cryptocurrencies"
NEWS = "Tetlock 2007, Giving content to investor sentiment"
ANNOUNCE = "Lucca & Moench 2015, The pre-FOMC announcement drift"
CALENDAR = "Andersen & Bollerslev 1997, Intraday periodicity and volatility persistence"
SPEC = "venue contract specification"
AVELLANEDA = "Avellaneda & Stoikov 2008, High-frequency trading in a limit order book"
BAILEY = "Bailey & Lopez de Prado 2015, Stop-outs under serial correlation"

FAST = (1, 5, 30)
SLOW = (5, 30)


def _one(
    group: str, source: str, missing: str, reference: str, rows: Iterable[tuple[str, str, str, str]]
) -> list[Feature]:
    return [
        Feature(name, group, formula, unit, window, source, missing, reference) for name, formula, unit, window in rows
    ]


def _each(spans: tuple[int, ...], like: Feature) -> list[Feature]:
    return [
        Feature(
            f"{like.name}_{w}s",
            like.group,
            like.formula.replace("W", f"{w}s"),
            like.unit,
            f"{w} s",
            like.source,
            like.missing,
            like.reference,
        )
        for w in spans
    ]


def _flow() -> list[Feature]:
    def f(spans: tuple[int, ...], name: str, formula: str, unit: str, *rest: str) -> list[Feature]:
        source, missing, reference = rest
        return _each(spans, Feature(name, "flow", formula, unit, "", source, missing, reference))

    levels = [
        Feature(
            f"ofi_level_{m}_5s",
            "flow",
            f"E_5s(e_{m}) / mean depth of a level, e_{m} the flow at level {m}",
            "level depths",
            "5 s",
            "book",
            LEVEL_COLD,
            MLOFI,
        )
        for m in range(1, 11)
    ]
    now = [
        Feature(
            "run_length",
            "flow",
            "slog(signed number of trades since the aggressor last changed)",
            "ln(1+trades)",
            "now",
            "trades",
            "before the first trade",
            LILLO,
        ),
        Feature(
            "trade_age",
            "flow",
            "log1p(seconds since the last trade)",
            "ln(1+s)",
            "now",
            "trades",
            "before the first trade",
            HASBROUCK,
        ),
    ]
    toxicity = [
        Feature(
            f"vpin_{n}",
            "flow",
            f"sum of |buys - sells| / sum of volume over the last {n} full buckets; a new bucket holds the 30 s mean volume of 1 s",
            "share",
            f"{n} buckets",
            "trades",
            f"until {n} buckets are full",
            VPIN,
        )
        for n in (10, 50)
    ]
    return [
        *f(FAST, "ofi", "E_W(e) / mean touch depth, e = 1[b>=b']qb - 1[b<=b']qb' - 1[a<=a']qa + 1[a>=a']qa'", "touch depths", "book", COLD, CONT),
        *levels,
        *f((1, 30), "ofi_deep", "mean over 10 levels of E_W(e_m) / mean depth of a level", "level depths", "book", LEVEL_COLD, MLOFI),
        *f(FAST, "trade_imbalance", "E_W(s q) / E_W(q)", "share", "trades", NO_TRADES, CHORDIA),
        *f(FAST, "count_imbalance", "E_W(s) / E_W(1)", "share", "trades", NO_TRADES, CHORDIA),
        *f(FAST, "net_notional", "slog(E_W(s N))", "ln(1+quote)", "trades", COLD, CHORDIA),
        *f(FAST, "buy_rate", "log1p(E_W(1[s>0]) / W)", "ln(1+1/s)", "trades", COLD, HAWKES),
        *f(FAST, "sell_rate", "log1p(E_W(1[s<0]) / W)", "ln(1+1/s)", "trades", COLD, HAWKES),
        *f(FAST, "notional_rate", "log1p(E_W(N) / W)", "ln(1+quote/s)", "trades", COLD, CHORDIA),
        *f(FAST, "trade_size", "log1p(E_W(N) / E_W(1))", "ln(1+quote)", "trades", NO_TRADES, HASBROUCK),
        *f(SLOW, "sign_autocorrelation_1", "E_W(s_i s_{i-1}) / E_W(1)", "share", "trades", NO_TRADES, LILLO),
        *f((30,), "sign_autocorrelation_2", "E_W(s_i s_{i-2}) / E_W(1)", "share", "trades", NO_TRADES, LILLO),
        *f((30,), "sign_autocorrelation_5", "E_W(s_i s_{i-5}) / E_W(1)", "share", "trades", NO_TRADES, LILLO),
        *toxicity,
        *f(SLOW, "kyle_lambda", "slog(S_W(r x) / S_W(x x)), x the slot's signed notional in millions", "ln(1+bp per million quote)", "trades", "as cold, or no trade in the window", KYLE),
        *f((30,), "hasbrouck_lambda", "slog(S_W(r y) / S_W(y y)), y = sign(x) sqrt(|x|)", "ln(1+bp per sqrt(million quote))", "trades", "as cold, or no trade in the window", HASBROUCK),
        *f(FAST, "quote_rate", "log1p(E_W(changes of the touch) / W)", "ln(1+1/s)", "book", COLD, HAWKES),
        *f((1, 5), "add_imbalance", "E_W(bid - ask quantity added) / E_W(added), within 5 bp of m", "share", "book", "as cold, or fewer than 0.05 effective level changes in the window", EISLER),
        *f((1, 5), "removal_imbalance", "E_W(bid - ask quantity removed) / E_W(removed), within 5 bp of m", "share", "book", "as cold, or fewer than 0.05 effective level changes in the window", EISLER),
        *now[:1],
        *now[1:],
        *_one("flow", "trades", NO_TRADES, HAWKES, [
            ("buy_burst", "ln((E_1s(buys)/1 + 0.1) / (E_30s(buys)/30 + 0.1))", "ln ratio", "30 s"),
            ("sell_burst", "ln((E_1s(sells)/1 + 0.1) / (E_30s(sells)/30 + 0.1))", "ln ratio", "30 s"),
        ]),
        *f((5,), "order_to_trade", "ln((E_W(level changes) + 1) / (E_W(trades) + 1))", "ln ratio", "book", COLD, HASBROUCK),
        *f(FAST, "vwap_deviation", "(E_W(p q) / E_W(q) - m) / m", "bp", "trades", NO_TRADES, HASBROUCK),
        *f(SLOW, "trade_concentration", "E_W(q q) / E_W(q)^2", "share", "trades", NO_TRADES, "Herfindahl index of trade sizes"),
        *f(SLOW, "effective_spread", "E_W(q 2 s (p - m)/m) / E_W(q)", "bp", "trades", NO_TRADES, HASBROUCK),
    ]  # fmt: skip


def _liquidity() -> list[Feature]:
    book = "book", NO_BOOK
    return [
        *_one("liquidity", "book", NO_TOUCH, HASBROUCK, [("spread", "(a - b) / m", "bp", "now")]),
        *_each(SLOW, Feature("spread_mean", "liquidity", "mean over S_W of the slot's last (a - b) / m", "bp", "", "book", COLD, HASBROUCK)),
        *_one("liquidity", "book", NO_TOUCH, GOULD, [("touch_imbalance", "(qb - qa) / (qb + qa)", "share", "now")]),
        *_one("liquidity", *book, GOULD, [
            (f"book_imbalance_{n}", f"(Qb - Qa) / (Qb + Qa), Q the quantity of the best {n} levels", "share", "now") for n in (3, 5, 10)
        ]),
        *_one("liquidity", "book", NO_TOUCH, OOMEN, [("weighted_mid", "((b qa + a qb) / (qa + qb) - m) / m", "bp", "now")]),
        *_one("liquidity", "book", "before 1,000 changes of the touch since the start or the last gap", STOIKOV, [
            ("micro_price", "G6(I, S) / m: expected sum of the next 6 moves of m, given the tenth I of qb / (qb + qa) and whether a - b is one tick; "
             "the chain is counted up to the last whole second, both ways round, halved at 20,000 changes", "bp", "20,000 changes"),
        ]),
        *_one("liquidity", *book, HASBROUCK, [
            (f"{side}_depth_{n}", f"log1p(notional of the best {n} {side} levels)", "ln(1+quote)", "now") for side in ("bid", "ask") for n in (1, 10)
        ]),
        *_one("liquidity", "book", "as cold, or it never changed", RESILIENCE, [
            (f"{what}_resilience_30s", f"minus the slope of y_k - y_(k-1) on y_(k-1) over S_30s, y the slot's last {y}", "share per slot", "30 s")
            for what, y in (("spread", "a - b"), ("depth", "qb + qa"))
        ]),
        *_one("liquidity", *book, "Kavajecz 1999, A specialist's quoted depth", [
            *((f"{side}_depth_{n}bp", f"log1p(notional of {side}s within {n} bp of m)", "ln(1+quote)", "now") for n in (5, 10) for side in ("bid", "ask")),
            *((f"depth_imbalance_{n}bp", f"(Nb - Na) / (Nb + Na) within {n} bp of m", "share", "now") for n in (5, 10)),
        ]),
        *_one("liquidity", *book, SLOPE, [
            (f"{side}_slope", "ln(mean over 10 levels of (cumulated notional) / |p/m - 1| in bp)", "ln(quote/bp)", "now") for side in ("bid", "ask")
        ]),
        *_one("liquidity", *book, "Biais, Hillion & Spatt 1995, An empirical analysis of the limit order book", [
            (f"{side}_gap", "mean distance between neighbouring levels of the best 10 / m", "bp", "now") for side in ("bid", "ask")
        ]),
        *_each(SLOW, Feature("amihud", "liquidity", "log1p(mean of |r| / N over slots of S_W with trades), N in millions", "ln(1+bp per million quote)", "", "trades", "as cold, or no trade in the window", AMIHUD)),
        *_one("liquidity", "book", COLD, ROLL, [("roll_spread_30s", "-2 sign(c) sqrt(|c|), c the mean over S_30s of r_k r_(k-1); below 0 where returns persist", "bp", "30 s")]),
        *_one("liquidity", "book", COLD, "Bouchaud, Farmer & Lillo 2009, How markets slowly digest changes in supply and demand", [
            ("touch_depth_ratio_30s", "ln((qb + qa) / mean over S_30s of the slot's last (qb + qa))", "ln ratio", "30 s")]),
        *_one("liquidity", "book", "before a whole book is known, or the book holds less within 20 bp", IRVINE, [
            (f"{side}_cost", f"mean price of a market {side} of 100,000 quote against m", "bp", "now") for side in ("buy", "sell")
        ]),
        *_one("liquidity", "book", NO_TOUCH, HASBROUCK, [("quote_age", "log1p(seconds since the touch was last confirmed)", "ln(1+s)", "now")]),
    ]  # fmt: skip


def _derivatives() -> list[Feature]:
    def spot(missing: str, reference: str, rows: list[tuple[str, str, str, str]]) -> list[Feature]:
        return _one("derivatives", "spot", missing, reference, rows)

    def each(name: str, formula: str, unit: str, *rest: str) -> list[Feature]:
        source, missing, reference = rest
        return _each(FAST, Feature(name, "derivatives", formula, unit, "", source, missing, reference))

    return [
        *spot(NO_QUOTES, BASIS, [("basis", "ln(m / m_spot)", "bp", "now")]),
        *_each(SLOW, Feature("basis_mean", "derivatives", "mean of ln(m / m_spot) over S_W", "bp", "", "spot", COLD, BASIS)),
        *each("basis_change", "ln(m / m_spot) now less W ago", "bp", "spot", COLD, BASIS),
        *spot(COLD, BASIS, [
            ("basis_sd_30s", "standard deviation of ln(m / m_spot) over S_30s", "bp", "30 s"),
            ("basis_zscore_30s", "(basis - mean) / max(sd, 0.01 bp) over S_30s", "sd", "30 s"),
        ]),
        *each("perp_return", "ln(m now / m W ago)", "bp", "book", COLD, ANDERSEN),
        *each("spot_return", "ln(m_spot now / m_spot W ago)", "bp", "spot", COLD, LEADLAG),
        *each("spot_trade_imbalance", "E_W(s q) / E_W(q) of spot", "share", "spot", NO_TRADES, CHORDIA),
        *each("spot_ofi", "E_W(e) / mean touch depth of spot", "touch depths", "spot", COLD, CONT),
        *spot(COLD, LEADLAG, [
            ("perp_spot_volume_30s", "ln((E_30s(N) + 1) / (E_30s(N_spot) + 1))", "ln ratio", "30 s"),
            ("spot_leads_30s", "correlation of r_k and r_spot_{k-1} over S_30s, 0 if nothing moved", "share", "30 s"),
            ("perp_leads_30s", "correlation of r_spot_k and r_{k-1} over S_30s, 0 if nothing moved", "share", "30 s"),
        ]),
        *_one("derivatives", "funding", "while the last payment is unknown or older than 2 of its intervals", FUNDING, [
            ("funding_rate", "last paid funding * 8 h / its interval", "bp per 8 h", "now")]),
        *_one("derivatives", "funding", "without an announcement of the last 15 min", FUNDING, [
            ("funding_predicted", "funding that the venue announces for the current interval, per interval", "bp", "now")]),
        *_one("derivatives", "funding", "as funding_rate and funding_predicted both", FUNDING, [
            ("funding_time", "log1p(hours to the next payment: the one announced, else the last plus its interval), 0 if due", "ln(1+h)", "now")]),
        *_one("derivatives", "mark", "without mark and index of the last 5 min", FUNDING, [("mark_premium", "ln(mark / index)", "bp", "now")]),
        *_one("derivatives", "open_interest", "without a reading of the last 15 min, or without a value", HONG, [
            ("open_interest", "ln(open interest in quote units: as published, else contracts at m)", "ln quote", "now")]),
        *_one("derivatives", "open_interest", "as open_interest, or without a reading of the 15 min before", HONG, [
            ("open_interest_change_5m", "ln(open interest now / as known 5 min ago on a grid of 5 s), in contracts if both are known, else in value", "ln ratio", "5 min")]),
        *_one("derivatives", "liquidations", "until 1 min after the first and from 1 h after the last forced order", CASCADE, [
            (f"{side}_liquidations_1m", f"log1p(notional of liquidated {side}s in the open second and the 59 before)", "ln(1+quote)", "1 min") for side in ("long", "short")]),
        *_one("derivatives", "positioning", "without a ratio of the last hour", HONG, [("long_short_ratio", "ln(accounts long / accounts short)", "ln ratio", "now")]),
    ]  # fmt: skip


def _onchain() -> list[Feature]:
    stale = "without a day that began in the last 4 days"
    each = [
        ("transactions", "ln(transactions)"), ("active_addresses", "ln(addresses that sent or received)"), ("fees", "log1p(fees in quote units)"),
        ("hash_rate", "ln(hash rate)"), ("transfer_value", "log1p(value moved in quote units)"), ("exchange_inflow", "log1p(value sent to exchanges)"),
        ("exchange_outflow", "log1p(value taken from exchanges)"), ("stablecoin_supply", "ln(supply of the large stablecoins)"),
    ]  # fmt: skip
    return [
        *_one("onchain", "onchain", stale, CHAIN, [(f"{n}_1d", f"{f} of the newest day", "ln", "1 d") for n, f in each]),
        *_one("onchain", "onchain", "as the day's value, or if one of the 7 days is unknown", CHAIN, [
            (f"{n}_change_7d", f"{f} of the newest day less its mean over that day and the 6 before", "ln ratio", "7 d") for n, f in each]),
        *_one("onchain", "onchain", stale, WHALES, [("stablecoin_inflow_1d", "log1p(stablecoins sent to exchanges) of the newest day", "ln(1+quote)", "1 d")]),
        *_one("onchain", "onchain", stale, COIN, [
            ("mvrv", "market value / realised value, each of its newest day", "ratio", "1 d"),
            ("nvt", "ln(market value / value moved), each of its newest day", "ln ratio", "1 d"),
            ("sopr", "price at which spent outputs moved / price at which they were made, newest day", "ratio", "1 d"),
        ]),
        *_one("onchain", "onchain", "without a reading of the last hour", MEMPOOL, [
            ("mempool_size", "log1p(transactions waiting)", "ln(1+transactions)", "now"),
            ("fee_rate", "log1p(median fee per byte of the mempool)", "ln(1+sat/byte)", "now"),
        ]),
        *_one("onchain", "onchain", "without a block known in the last 6 h", MEMPOOL, [("block_age", "log1p(seconds since the newest known block was found)", "ln(1+s)", "now")]),
        *_one("onchain", "onchain", "until 1 h after the first and from 1 d after the last such transfer", WHALES, [
            ("whale_transfers_1h", "log1p(transfers above 10 million quote in the open minute and the 59 before)", "ln(1+transfers)", "1 h")]),
    ]  # fmt: skip


def _events() -> list[Feature]:
    silent = "without any story in the last day"
    hour, day = f"{silent}, or until the feed was seen for 1 h", f"{silent}, or until the feed was seen for 1 d"
    return [
        *_one("events", "news", silent, ANNOUNCE, [
            ("macro_time_to", "exp(-hours to the next announced macro event), 0 if none", "share", "now"),
            ("macro_time_since", "exp(-hours since the last announced macro event), 0 if none", "share", "now"),
            ("unlock_time_to", "exp(-days to the next announced token unlock), 0 if none", "share", "now"),
            ("expiry_time_to", "exp(-hours to the next announced option or future expiry), 0 if none", "share", "now"),
            ("maintenance_time_to", "exp(-hours to the next announced maintenance of a venue), 0 if none", "share", "now"),
        ]),
        *_one("events", "news", hour, BURST, [("news_count_1h", "log1p(stories)", "ln(1+stories)", "1 h")]),
        *_one("events", "news", f"{hour}, or no story in it", NEWS, [("news_sentiment_1h", "mean sentiment weighted by confidence", "-1..1", "1 h")]),
        *_one("events", "news", day, NEWS, [("news_sentiment_1d", "mean sentiment weighted by confidence", "-1..1", "1 d")]),
        *_one("events", "news", hour, NEWS, [("news_severity_1h", "greatest severity of a story, 0 if none", "0..1", "1 h")]),
        *_one("events", "news", day, BURST, [("news_burst_1h", "ln((stories of 1 h + 1) / (stories of 1 d / 24 + 1))", "ln ratio", "1 d")]),
        *_one("events", "news", day, CASCADE, [("distress_1d", "greatest severity of a hack, depeg or insolvency, 0 if none", "0..1", "1 d")]),
        *_one("events", "news", silent, LISTING, [("listing_news", "exp(-days since the last story of a listing or delisting), 0 if none", "share", "now")]),
        *_one("events", "news", hour, NEWS, [
            (f"{where}_incident", f"greatest severity * exp(-age in hours) of a {where} incident of the last day, 0 if none", "0..1", "1 d") for where in ("venue", "network")]),
        *_one("events", "news", day, NEWS, [("regulatory_1d", "log1p(stories of regulation or enforcement)", "ln(1+stories)", "1 d")]),
        *_one("events", "onchain", "without a day that began in the last 4 days", NEWS, [("fear_greed", "the fear and greed index of the newest day / 100", "0..1", "1 d")]),
    ]  # fmt: skip


def _asset() -> list[Feature]:
    return [
        *_one("asset", "registry", "never", SPEC, [
            ("maker_fee", "maker fee", "bp", "now"), ("taker_fee", "taker fee", "bp", "now"),
            ("max_leverage", "ln(largest leverage of the contract)", "ln", "now"),
            ("min_notional", "log1p(least notional of an order)", "ln(1+quote)", "now"),
            ("is_spot", "1 for spot", "0 or 1", "now"), ("is_linear", "1 for a linear contract", "0 or 1", "now"),
            ("is_inverse", "1 for an inverse contract", "0 or 1", "now"),
        ]),
        *_one("asset", "book", NO_TOUCH, SPEC, [
            ("tick_size", "ln(tick / m in bp)", "ln bp", "now"), ("step_notional", "log1p(notional of one step)", "ln(1+quote)", "now"),
        ]),
        *_one("asset", "registry", "for spot, and where the venue's leverage brackets are not known", SPEC, [
            ("maintenance_margin", "maintenance margin of the first leverage bracket / notional", "share", "now")]),
        *_one("asset", "registry", "where the day of listing is not known", SPEC, [("listing_age", "log1p(days since trading began)", "ln(1+d)", "now")]),
        *_one("asset", "registry", "never", CALENDAR, [
            *((f"{n}_{g}", f"{g}(2 pi phase of the {what}, UTC)", "share", "now") for n, what in (("day", "day"), ("week", "week, from Monday")) for g in ("sin", "cos")),
            ("is_weekend", "1 on Saturday and Sunday, UTC", "0 or 1", "now"),
        ]),
    ]  # fmt: skip


def _regime() -> list[Feature]:
    return [
        *_each(SLOW, Feature("realised_volatility", "regime", "sqrt(S_W(r^2))", "bp", "", "book", COLD, ANDERSEN)),
        *_one("regime", "book", COLD, BNS, [("bipower_volatility_30s", "sqrt((pi/2) (300/299) S_30s(|r_k||r_(k-1)|))", "bp", "30 s")]),
        *_one("regime", "book", UNMOVED, BNS, [("jump_share_30s", "max(0, 1 - (pi/2) (300/299) S_30s(|r_k||r_(k-1)|) / S_30s(r^2))", "share", "30 s")]),
        *_one("regime", "book", UNMOVED, SEMI, [("upside_share_30s", "S_30s(r^2 1[r>0]) / S_30s(r^2)", "share", "30 s")]),
        *_one("regime", "book", UNMOVED, LO, [("variance_ratio_30s", "S_30s(squared 1 s returns) / S_30s(r^2)", "ratio", "30 s")]),
        *_one("regime", "book", UNMOVED, KAUFMAN, [("efficiency_30s", "(ln m now - ln m 30 s ago) / (S_30s(|r|) and the open slot's |r|)", "share", "30 s")]),
        *_one("regime", "book", COLD, ANDERSEN, [("volatility_ratio", "ln((S_5s(r^2)/5 + c) / (S_30s(r^2)/30 + c)), c = 0.0001 bp^2/s", "ln ratio", "30 s")]),
    ]  # fmt: skip


def _portfolio() -> list[Feature]:
    return [
        *_one("portfolio", "account", "without an account or quote, or with a risk budget of 0", AVELLANEDA, [
            ("position_share", "signed notional at mid / (max_position_pct equity), clipped to -1..1", "share", "now"),
            ("unrealised_return", "sign (mid - entry) / entry of the position, 0 if flat", "bp", "now"),
            ("unrealised_share", "unrealised profit / equity", "bp", "now"),
            ("leverage_used", "sum of |notional| / equity, other instruments at entry price", "ratio", "now"),
        ]),
        *_one("portfolio", "account", "without an account, or with equity not above 0", BAILEY, [
            ("drawdown", "1 - equity / peak equity", "share", "now"), ("cash_share", "cash / equity", "ratio", "now"),
        ]),
        *_one("portfolio", "account", "without an account", SPEC, [("open_orders", "log1p(open orders)", "ln(1+orders)", "now")]),
        *_one("portfolio", "account", "without an account, or before the first fill", SPEC, [("fill_age", "log1p(seconds since the last fill)", "ln(1+s)", "now")]),
    ]  # fmt: skip


FEATURES: tuple[Feature, ...] = (
    *_flow(),
    *_liquidity(),
    *_derivatives(),
    *_onchain(),
    *_events(),
    *_asset(),
    *_regime(),
    *_portfolio(),
)
"""All features in the order of the state vector."""

NAMES = tuple(feature.name for feature in FEATURES)
WIDTH = len(FEATURES)
_INDEX = {name: place for place, name in enumerate(NAMES)}

SCHEMA_HASH = content_hash("\n".join(f"{f.name}|{f.formula}|{f.unit}|{f.window}" for f in FEATURES).encode(), 32)
"""32 hex digits over names, formulas, units and windows, in order."""


def index(name: str) -> int:
    """Place of a feature in the state vector."""
    try:
        return _INDEX[name]
    except KeyError:
        raise DataError(f"there is no feature {name!r}; docs/features.md lists all {WIDTH}") from None


def group_slice(group: str) -> slice:
    """The columns of a group in the state vector."""
    if group not in SIZES:
        raise DataError(f"there is no feature group {group!r}; the groups are {', '.join(GROUPS)}")
    start = sum(SIZES[name] for name in GROUPS[: GROUPS.index(group)])
    return slice(start, start + SIZES[group])
