"""Features of facts against lists and their formulas, their limits of age, and what must never be invented."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe import schema
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.features import FACT_KINDS, FeatureEngine
from cryptoai.data_universe.market_events.taxonomy import category
from cryptoai.data_universe.onchain.metrics import DAY, metric
from cryptoai.testing.random_market import START, random_facts, random_tape

PERP = "binance_usdm:BTCUSDT"
MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
T = START + 90 * SECOND
Made = dict[str, float]


def read(facts: tuple[Facts, ...], now: int, instrument_id: str = PERP) -> Made:
    """The features that are present at `now` after these facts."""
    engine = FeatureEngine(instrument(instrument_id))
    for one in facts:
        engine.update_facts(one, 0, one.until(now))
    values, mask, _ = engine.emit(now)
    return {name: float(v) for name, v, bit in zip(schema.NAMES, values, mask, strict=True) if bit}


def one(kind: str, rows: list[tuple[float, ...]], *, known: list[int], event: list[int] | None = None) -> Facts:
    return Facts.of(kind, known if event is None else event, known, rows)


def rows_of(facts: Facts, now: int) -> list[tuple[int, int, list[float]]]:
    """(event time, known at, values) of what is known."""
    until = facts.until(now)
    return list(
        zip(
            facts.event_time[:until].tolist(),
            facts.known_at[:until].tolist(),
            facts.values[:until].tolist(),
            strict=True,
        )
    )


def expected_positions(tapes: dict[str, Facts], now: int) -> Made:
    """Funding, mark, open interest, liquidations and positioning by their formulas."""
    known = {kind: rows_of(facts, now) for kind, facts in tapes.items()}
    paid, (rate, interval) = max((row[0], row[2]) for row in known["funding"])
    _, _, (announced, following) = known["funding_predicted"][-1]
    until = following - now / 1e9 if following * 1e9 >= now else paid / 1e9 + interval - now / 1e9
    _, _, (mark, index) = known["mark"][-1]
    _, _, (contracts, notional) = known["open_interest"][-1]
    grid = 5 * SECOND
    before = [v for _, at, v in known["open_interest"] if at // grid <= now // grid - 60][-1]
    second = [(v[0], v[1] * v[2]) for _, at, v in known["liquidations"] if at // SECOND > now // SECOND - 60]
    return {
        "funding_rate": 1e4 * rate * 8 * 3_600 / interval,
        "funding_predicted": 1e4 * announced,
        "funding_time": math.log1p(max(0.0, until) / 3_600),
        "mark_premium": 1e4 * math.log(mark / index),
        "open_interest": math.log(notional),
        "open_interest_change_5m": math.log(contracts / before[0]),
        "long_liquidations_1m": math.log1p(sum(n for side, n in second if side < 0)),
        "short_liquidations_1m": math.log1p(sum(n for side, n in second if side > 0)),
        "long_short_ratio": math.log(known["positioning"][-1][2][0]),
    }


def expected_chain(facts: Facts, now: int) -> Made:
    """Each metric's newest day, its week, and what holds at an instant."""
    values: dict[tuple[int, int], float] = {(int(v[0]), event): v[1] for event, _, v in rows_of(facts, now)}
    out: Made = {}

    def series(name: str) -> list[float]:
        return [value for (index, _), value in sorted(values.items()) if index == metric(name)]

    stocks = ("transactions", "active_addresses", "hash_rate", "stablecoin_supply")
    for name in (*stocks, "fees", "transfer_value", "exchange_inflow", "exchange_outflow"):
        scale = math.log if name in stocks else math.log1p
        week = [scale(x) for x in series(name)[-7:]]
        out[f"{name}_1d"], out[f"{name}_change_7d"] = week[-1], week[-1] - sum(week) / 7
    blocks = [event for index, event in values if index == metric("block_height")]
    whales = [at for _, at, v in rows_of(facts, now) if v[0] == metric("whale_transfer")]
    return out | {
        "stablecoin_inflow_1d": math.log1p(series("stablecoin_inflow")[-1]),
        "mvrv": series("market_value")[-1] / series("realised_value")[-1],
        "nvt": math.log(series("market_value")[-1] / series("transfer_value")[-1]),
        "sopr": series("sopr")[-1],
        "mempool_size": math.log1p(series("mempool_size")[-1]),
        "fee_rate": math.log1p(series("fee_rate")[-1]),
        "block_age": math.log1p((now - max(blocks)) / 1e9),
        "whale_transfers_1h": math.log1p(sum(at // MINUTE > now // MINUTE - 60 for at in whales)),
        "fear_greed": series("fear_greed")[-1] / 100,
    }


def expected_news(facts: Facts, now: int) -> Made:
    """Counts, tones and dates of the stories."""
    told = [(at, *v) for _, at, v in rows_of(facts, now)]
    day = [row for row in told if now - row[0] <= DAY]
    hour = [row for row in told if now - row[0] <= HOUR]

    def kinds(*names: str) -> tuple[int, ...]:
        return tuple(category(name) for name in names)

    def soon(name: str, scale: float) -> float:
        dates = [row[5] for row in told if row[1] in kinds(name) and row[5] * 1e9 > now]
        return math.exp(-(min(dates) - now / 1e9) / scale) if dates else 0.0

    def faded(name: str) -> float:
        return max((r[2] * math.exp(-(now - r[0]) / 1e9 / 3_600) for r in day if r[1] in kinds(name)), default=0.0)

    def tone(rows: list[tuple[float, ...]]) -> float:
        return sum(r[3] * r[4] for r in rows) / sum(r[4] for r in rows)

    past = [row[5] for row in told if row[1] in kinds("macro") and 0 < row[5] * 1e9 <= now]
    coins = [row[0] for row in told if row[1] in kinds("listing", "delisting")]
    return {
        "macro_time_to": soon("macro", 3_600), "unlock_time_to": soon("unlock", 86_400),
        "expiry_time_to": soon("expiry", 3_600), "maintenance_time_to": soon("maintenance", 3_600),
        "macro_time_since": math.exp(-(now / 1e9 - max(past)) / 3_600) if past else 0.0,
        "news_count_1h": math.log1p(len(hour)),
        "news_sentiment_1h": tone(hour), "news_sentiment_1d": tone(day),
        "news_severity_1h": max(row[2] for row in hour),
        "news_burst_1h": math.log((len(hour) + 1) / (len(day) / 24 + 1)),
        "distress_1d": max(r[2] for r in day if r[1] in kinds("hack", "depeg", "insolvency")),
        "listing_news": math.exp(-(now - coins[-1]) / DAY),
        "venue_incident": faded("venue_incident"), "network_incident": faded("network_incident"),
        "regulatory_1d": math.log1p(sum(r[1] in kinds("regulation", "enforcement") for r in day)),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_every_feature_of_facts_agrees_with_its_formula(seed: int) -> None:
    """Forty-nine features on random facts with late rows and corrections, read from lists by the schema's words."""
    facts = random_facts(np.random.default_rng(seed), 90)
    tapes = {facts.kind: facts for facts in facts}
    expected = (
        expected_positions(tapes, T) | expected_chain(tapes["onchain"], T) | expected_news(tapes["news_scores"], T)
    )
    got = read(facts, T)

    assert len(expected) == 49
    assert {name: got.get(name, math.nan) for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_facts_give_the_same_in_one_call_or_row_by_row_and_kind_by_kind_or_mixed() -> None:
    """How facts are cut, and in which order their kinds come, changes nothing."""
    facts = random_facts(np.random.default_rng(11), 90)
    whole, mixed = read(facts, T), FeatureEngine(instrument(PERP))
    every = sorted((int(f.known_at[i]), k, i) for k, f in enumerate(facts) for i in range(f.until(T)))
    for _, k, i in every:
        mixed.update_facts(facts[k], i, i + 1)
    values, mask, _ = mixed.emit(T)

    assert {n: float(v) for n, v, bit in zip(schema.NAMES, values, mask, strict=True) if bit} == whole


@pytest.mark.parametrize(
    ("kind", "row", "name", "lives"),
    [
        ("funding", (1e-4, 14_400), "funding_rate", 8 * HOUR),
        ("funding_predicted", (1e-4, 1.8e9), "funding_predicted", 15 * MINUTE),
        ("mark", (100.0, 99.0), "mark_premium", 5 * MINUTE),
        ("open_interest", (10.0, 1e6), "open_interest", 15 * MINUTE),
        ("positioning", (1.5,), "long_short_ratio", HOUR),
        ("onchain", (metric("sopr"), 1.01), "sopr", 4 * DAY),
        ("onchain", (metric("mempool_size"), 5_000.0), "mempool_size", HOUR),
        ("onchain", (metric("block_height"), 800_000.0), "block_age", 6 * HOUR),
        ("news_scores", (0, 0.5, 0.1, 0.9, 0), "listing_news", DAY),
    ],
)
def test_a_fact_lives_as_long_as_its_feature_says_and_not_a_nanosecond_longer(
    kind: str, row: tuple[float, ...], name: str, lives: int
) -> None:
    """At the limit the number stands, after it the mask is 0; before the fact was known there is nothing."""
    fact = (one(kind, [row], known=[START]),)

    assert name not in read(fact, START - 1)
    assert name in read(fact, START + lives)
    assert name not in read(fact, START + lives + 1)


def test_without_facts_no_feature_of_facts_is_present() -> None:
    """Nothing is invented where a feed is absent, and a source without an index has no premium."""
    sources = {"funding", "mark", "open_interest", "liquidations", "positioning", "onchain", "news"}
    absent = read((one("mark", [(100.0, math.nan)], known=[START]),), START)

    assert not {f.name for f in schema.FEATURES if f.source in sources} & set(absent)


def test_windows_speak_only_once_they_were_seen_whole() -> None:
    """A feed that has just begun says nothing about the minute, the hour or the week before it."""
    forced = one("liquidations", [(-1.0, 10.0, 3.0)], known=[START])
    week = one(
        "onchain",
        [(metric("fees"), 10.0)] * 6,
        known=[START] * 6,
        event=[START // DAY * DAY - k * DAY for k in range(6)],
    )

    assert "long_liquidations_1m" not in read((forced,), START + MINUTE - 1)
    assert read((forced,), START + MINUTE)["long_liquidations_1m"] == 0.0
    assert "fees_change_7d" not in read((week,), START)
    assert read((week,), START)["fees_1d"] == pytest.approx(math.log(11))


def test_a_cascade_of_more_orders_than_any_buffer_is_counted_in_full() -> None:
    """100,000 forced sales in a minute: the sum is theirs, and only the longs' side has any."""
    known = [START - HOUR, *(START + k * MINUTE // 100_000 for k in range(100_000))]
    made = read((one("liquidations", [(-1.0, 2.0, 0.5)] * 100_001, known=known),), START + MINUTE - SECOND)
    inside = sum(
        at // SECOND > (START + MINUTE - SECOND) // SECOND - 60 for at in known if at <= START + MINUTE - SECOND
    )

    assert made["long_liquidations_1m"] == pytest.approx(math.log1p(inside))
    assert made["short_liquidations_1m"] == 0.0


def test_a_correction_of_an_older_payment_or_day_does_not_become_the_newest() -> None:
    """A correction changes its own day; the newest stays what it was."""
    funding = one(
        "funding", [(2e-4, 28_800), (9e-4, 28_800)], known=[START, START + 5], event=[START, START - 8 * HOUR]
    )
    days = [START // DAY * DAY, START // DAY * DAY - DAY]
    fees = one("onchain", [(metric("fees"), 7.0), (metric("fees"), 99.0)], known=[START, START + 5], event=days)
    made = read((funding, fees), START + 10)

    assert made["funding_rate"] == pytest.approx(2.0)
    assert made["fees_1d"] == pytest.approx(math.log(8))


@pytest.mark.parametrize(("instrument_id", "worth"), [(PERP, 0.0), ("binance_coinm:BTCUSD_PERP", 100.0)])
def test_open_interest_in_contracts_is_worth_what_the_contract_says(instrument_id: str, worth: float) -> None:
    """Linear: base units at mid, so unknown without a book; inverse: a fixed value in quote."""
    contracts = one("open_interest", [(50.0, math.nan)], known=[T])
    engine = FeatureEngine(instrument(instrument_id))
    tape = random_tape(np.random.default_rng(2), 90)
    engine.update(tape, 0, tape.until(T))
    engine.update_facts(contracts)
    values, _, _ = engine.emit(T)
    mid = math.exp(-values[schema.index("tick_size")]) * 1e4 * 0.1
    made = values[schema.index("open_interest")]

    assert made == pytest.approx(math.log(50 * (worth or mid)))
    assert ("open_interest" in read((contracts,), T, instrument_id)) == (worth > 0)


def test_late_facts_and_early_readings_are_refused() -> None:
    """A fact that was known before the last reading would have been the future to nobody, and missing to all."""
    engine = FeatureEngine(instrument(PERP))
    tape = one("positioning", [(1.0,), (2.0,)], known=[START, START + 10])
    engine.update_facts(tape)
    with pytest.raises(DataError, match="asked for after"):
        engine.emit(START + 5)
    engine.emit(START + 20)

    with pytest.raises(DataError, match="came after"):
        engine.update_facts(one("mark", [(1.0, 1.0)], known=[START + 15]))
    with pytest.raises(DataError, match="came after"):
        engine.update_facts(tape, 0, 1)


def test_candles_and_unknown_metrics_change_nothing() -> None:
    """Kinds that no feature is made of pass by; an index from a newer list of metrics is not mistaken for another."""
    bar = one("candles", [(60, 1.0, 2.0, 0.5, 1.5, 3.0)], known=[START])
    newer = one("onchain", [(9_999, 1.0)], known=[START])

    assert "candles" not in FACT_KINDS
    assert read((bar, newer), START).keys() == read((), START).keys()
