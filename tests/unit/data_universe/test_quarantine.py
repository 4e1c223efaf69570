"""Which facts are believed: bad rows are caught with their reason, and no crash is mistaken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.lake_facts import read_facts, read_refused, write_facts
from cryptoai.data_universe.quarantine import ABSURD, judge

HOUR = 3_600 * SECOND
START = 1_704_067_200 * SECOND
REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
CRASHES = (
    REAL / "crash_2020_2022" / "usdm_perp_1h_2020-01_2022-06_covid_may21_luna.parquet",
    REAL / "crash_2020_2022" / "spot_btc_5m_2021-11_2022-05_luna.parquet",
    REAL / "perp_candles" / "usdm_1h_futures_2023-01_2024-05.parquet",
)


def _times(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return START + np.arange(count, dtype=np.int64) * HOUR


def _bars(rows: list[tuple[float, float, float, float]]) -> Facts:
    time = _times(len(rows))
    return Facts.of("candles", time, time + HOUR, [(3_600, *row, 1.0) for row in rows])


def _marks(prices: list[float]) -> Facts:
    return Facts.of("mark", _times(len(prices)), _times(len(prices)), [(price, np.nan) for price in prices])


@pytest.mark.parametrize(
    ("kind", "row", "event", "known", "reason"),
    [
        ("funding", (np.nan, 28_800), 0, 0, "no rate"),
        ("funding", (0.9, 28_800), 0, 0, "rate out of bounds"),
        ("funding", (1e-4, np.inf), 0, 0, "interval_s out of bounds"),
        ("funding", (1e-4, 28_800), 5, 4, "known before it happened"),
        ("funding", (1e-4, 28_800), -START, 0, "time before 2009, or none"),
        ("funding", (1e-4, 28_800), 0, 99 * SECOND, "time in the future"),
        ("mark", (0.0, np.nan), 0, 0, "mark out of bounds"),
        ("open_interest", (np.nan, np.nan), 0, 0, "no value"),
        ("liquidations", (0.5, 10, 1), 0, 0, "side is not one of its values"),
        ("candles", (60, 10, 9, 8, 10, 1), 0, 0, "impossible bar"),
        ("candles", (60, 10, 12, 11, 12, 1), 0, 0, "impossible bar"),
        ("candles", (60, 10, 11, 9, 10, np.nan), 0, 0, ""),
        ("mark", (1e-5, np.nan), 0, 4 * SECOND, ""),
    ],
)
def test_a_row_is_judged_alone(kind: str, row: tuple[float, ...], event: int, known: int, reason: str) -> None:
    """By its times and the bounds of its kind; what is optional may be missing."""
    facts = Facts.of(kind, [START + event], [START + known], [row])
    assert judge(facts, now_ns=START).tolist() == [reason]


def test_a_wick_to_nothing_is_caught_and_the_rest_stays() -> None:
    """A low of 0.0001 for a coin at 20, as one venue printed it, also in the first bar of a file."""
    good = (20.0, 21.0, 19.0, 20.5)
    for place in (0, 1, 7):
        rows = [good] * 8
        rows[place] = (20.0, 21.0, 0.0001, 20.5)
        expected = [""] * 8
        expected[place] = ABSURD
        assert judge(_bars(rows)).tolist() == expected


@pytest.mark.parametrize("bad", [2.0, 200.0, 0.0001, 1e8])
def test_a_price_with_a_digit_lost_or_gained_is_caught(bad: float) -> None:
    """A factor of ten away from the prices before and after."""
    assert judge(_marks([20, 20.1, 19.9, bad, 20.2])).tolist() == ["", "", "", ABSURD, ""]
    row = (bad, bad, bad, bad)
    assert judge(_bars([(20.0, 20.0, 20.0, 20.0)] * 3 + [row])).tolist() == ["", "", "", ABSURD]


def test_a_bad_first_price_does_not_silence_the_good_ones() -> None:
    """Nothing is known before it, so it is believed; three that agree with one another outvote it."""
    assert judge(_marks([0.01, 20, 20, 20, 21, 20])).tolist() == ["", ABSURD, ABSURD, "", "", ""]


def test_a_new_denomination_is_believed_in_the_end() -> None:
    """After twenty rows that agree; scattered nonsense never is."""
    split = judge(_marks([20.0] * 9 + [0.02] * 30)).tolist()
    assert split == [""] * 9 + [ABSURD] * 19 + [""] * 11
    noise = [10.0 ** (3 + 2 * (place % 3)) for place in range(30)]
    assert set(judge(_marks([20.0] * 9 + noise)).tolist()[9:]) == {ABSURD}


def test_a_crash_of_a_thousandth_in_a_day_is_believed() -> None:
    """Half an hour's price again and again, as LUNA lost it: each step is near the one before."""
    prices = [80.0 * 0.5**step for step in range(24)]
    assert set(judge(_marks(prices)).tolist()) == {""}


def test_the_verdict_does_not_depend_on_how_the_rows_are_cut(tmp_path: Path) -> None:
    """Row by row, as a recorder writes, or all at once: the same rows are stored and refused."""
    prices = [20.0] * 6 + [0.0001, 20.0] + [0.02] * 24 + [0.021]
    facts = _marks(prices)
    write_facts(tmp_path / "whole", "a:B", facts, "x")
    for place in range(len(facts)):
        write_facts(tmp_path / "rows", "a:B", facts.slice(place, place + 1), "x")
    whole, rows = (read_facts(tmp_path / name, "a:B", "mark") for name in ("whole", "rows"))
    assert whole.fingerprint() == rows.fingerprint()
    assert len(whole) == 7 + 5 + 1
    refused = [read_refused(tmp_path / name, "a:B", "mark") for name in ("whole", "rows")]
    assert refused[0][0].fingerprint() == refused[1][0].fingerprint()


def test_a_clock_that_ran_backwards_is_noticed() -> None:
    """A reading of the present that is older than one known before; a correction of a payment is not one."""
    event, known = START + np.array([0, 10, 5, 11]) * SECOND, START + np.array([0, 10, 11, 12]) * SECOND
    marks = Facts.of("mark", event, known, [[10.0, 10.0]] * 4)
    assert judge(marks).tolist() == ["", "", "the clock ran backwards", ""]
    assert set(judge(Facts.of("funding", event, known, [[1e-4, 28_800]] * 4)).tolist()) == {""}


def test_bars_of_two_widths_are_two_series() -> None:
    """Each is judged beside its own past."""
    time = _times(6)
    widths = [60, 3_600] * 3
    prices = [20.0, 400.0] * 3
    rows = [(width, price, price, price, price, 1.0) for width, price in zip(widths, prices, strict=True)]
    assert set(judge(Facts.of("candles", time, time + HOUR, rows)).tolist()) == {""}


def test_no_rows_have_no_reasons() -> None:
    """An empty batch is judged like any other."""
    assert len(judge(Facts.none("candles"))) == 0


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: path.stem)
def test_no_real_crash_is_refused(path: Path) -> None:
    """March 2020, May 2021, LUNA and listings: every bar that was real is believed."""
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    frame = pl.read_parquet(path)
    for symbol in frame["symbol"].unique().sort():
        rows = frame.filter(pl.col("symbol") == symbol).sort("date")
        time = rows["date"].dt.epoch("ns").to_numpy()
        values = np.column_stack([np.full(len(rows), 3_600), rows.select("open", "high", "low", "close", "volume")])
        assert set(judge(Facts.of("candles", time, time + HOUR, values)).tolist()) == {""}
