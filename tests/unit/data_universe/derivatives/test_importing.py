"""Files of derivatives data as venues and vendors write them: the right facts, or one sentence that says why not."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.derivatives.importing import Source, import_facts
from cryptoai.data_universe.derivatives.readings import How
from cryptoai.data_universe.inspect import lanes
from cryptoai.data_universe.lake_facts import read_facts, read_refused

BTC = "binance_usdm:BTCUSDT"
START_S = 1_704_067_200
START = START_S * SECOND
REAL = Path(__file__).resolve().parents[5] / "shared" / "data"
FUNDING = REAL / "perp_candles" / "usdm_8h_funding_rate_2023-01_2024-05.parquet"
VISION = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio\n"
    "2024-01-01 00:05:00,BTCUSDT,80000.5,3400000000.25,1.2,1.1,1.5,0.9\n"
)
TICKER = (
    "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate,predicted_funding_rate,open_interest,"
    "last_price,index_price,mark_price\n"
    "binance-futures,BTCUSDT,1704067200000000,1704067200100000,1704096000000000,0.0001,,90000,42000,42001,42002\n"
    "binance-futures,BTCUSDT,1704067201000000,1704067201100000,1704096000000000,0.0001,,,42000,,42003\n"
)
FORCED = (
    "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
    "x,BTCUSDT,1704067200000000,1704067200200000,,sell,42000,0.5\nx,BTCUSDT,1704067201000000,1704067201200000,,buy,42100,2\n"
)


def _imported(root: Path, name: str, text: str, **more: object) -> Path:
    path = root / name
    path.write_text(text)
    import_facts(root / "lake", Source(path, **{"instrument": BTC, **more}))  # type: ignore[arg-type]
    return root / "lake"


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("seconds", [f"{START_S}", f"{START_S + 28_800}"]),
        ("fractions", [f"{START_S}.0", f"{START_S + 28_800}.0"]),
        ("ms", [f"{START_S}000", f"{START_S + 28_800}000"]),
        ("us", [f"{START_S}000000", f"{START_S + 28_800}000000"]),
        ("ns", [f"{START_S}000000000", f"{START_S + 28_800}000000000"]),
        ("iso", ["2024-01-01T00:00:00Z", "2024-01-01T08:00:00Z"]),
        ("space", ["2024-01-01 00:00:00", "2024-01-01 08:00:00.000"]),
        ("zone", ["2024-01-01 02:00:00+02:00", "2024-01-01T08:00:00+00:00"]),
    ],
)
def test_times_of_every_unit(tmp_path: Path, unit: str, times: list[str]) -> None:
    """Seconds to nanoseconds and ISO text mean the same moments."""
    lake = _imported(tmp_path, f"{unit}.csv", "Time,fundingRate\n" + "".join(f"{time},0.0001\n" for time in times))
    assert read_facts(lake, BTC, "funding").event_time.tolist() == [START, START + 28_800 * SECOND]


@pytest.mark.parametrize(
    "heads", ["date,rate", "calc_time,last_funding_rate", "fundingTime;fundingRate", "ts\tfunding rate"]
)
def test_columns_are_found_by_their_aliases(tmp_path: Path, heads: str) -> None:
    """Whatever the case, the separator or the venue."""
    mark = next(sign for sign in ",;\t" if sign in heads)
    lake = _imported(tmp_path, "a.csv", f"{heads}\n2024-01-01{mark}0.0002\n2024-01-02{mark}0.0003\n")
    assert read_facts(lake, BTC, "funding").column("rate").tolist() == [0.0002, 0.0003]


def test_a_ticker_of_tardis_holds_three_kinds(tmp_path: Path) -> None:
    """Each with the local time as known_at; an interest that is not there is refused, not invented."""
    lake = _imported(tmp_path, "derivative_ticker.csv", TICKER)
    mark = read_facts(lake, BTC, "mark")
    assert mark.known_at.tolist() == [START + SECOND // 10, START + 11 * SECOND // 10]
    assert mark.column("mark").tolist() == [42_002.0, 42_003.0]
    assert np.isnan(mark.column("index")[1])
    assert read_facts(lake, BTC, "open_interest").column("contracts").tolist() == [90_000.0]
    assert read_refused(lake, BTC, "open_interest")[1] == ["no value"]
    predicted = read_facts(lake, BTC, "funding_predicted")
    assert predicted.column("next_time_s").tolist() == [START_S + 28_800] * 2
    assert len(read_facts(lake, BTC, "funding")) == 0


def test_metrics_of_binance_hold_two(tmp_path: Path) -> None:
    """Open interest with its value, and the ratio of accounts."""
    lake = _imported(tmp_path, "BTCUSDT-metrics-2024-01-01.csv", VISION)
    assert read_facts(lake, BTC, "open_interest").values.tolist() == [[80_000.5, 3_400_000_000.25]]
    assert read_facts(lake, BTC, "positioning").values.tolist() == [[1.5]]


@pytest.mark.parametrize(("positions", "sides"), [(False, [-1.0, 1.0]), (True, [1.0, -1.0])])
def test_the_side_of_a_liquidation(tmp_path: Path, *, positions: bool, sides: list[float]) -> None:
    """That of the forced order, unless the venue names the position."""
    lake = _imported(tmp_path, "liquidations.csv", FORCED, how=How(positions=positions))
    assert read_facts(lake, BTC, "liquidations").column("side").tolist() == sides


def test_trades_are_not_taken_for_liquidations(tmp_path: Path) -> None:
    """The same columns under another name need the user's word."""
    with pytest.raises(DataError, match="could be trades: --kind liquidations"):
        _imported(tmp_path, "trades.csv", FORCED)


def test_bars_from_a_zip_without_header(tmp_path: Path) -> None:
    """Binance's archive: twelve columns, no names; a bar is known when it has closed."""
    rows = "".join(f"{START_S + 60 * n}000,10,12,9,11,5,0,0,0,0,0,0\n" for n in range(3))
    path = tmp_path / "BTCUSDT-1m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("BTCUSDT-1m.csv", rows)
    import_facts(tmp_path / "lake", Source(path, BTC))
    bars = read_facts(tmp_path / "lake", BTC, "candles")
    assert (bars.known_at - bars.event_time).tolist() == [60 * SECOND] * 3
    assert bars.values[0].tolist() == [60, 10, 12, 9, 11, 5]


def test_mark_bars_that_were_traded_are_no_mark_price(tmp_path: Path) -> None:
    """A file called mark with volume holds contract candles; without, its closes are marks."""
    bars = "date,open,high,low,close,volume\n2024-01-01 00:00,1,1,1,1,{0}\n2024-01-01 08:00,2,2,2,2,{0}\n"
    with pytest.raises(DataError, match="contract candles and no mark price: --kind candles"):
        _imported(tmp_path, "mark_8h.csv", bars.format(7).replace(":00,", ":00:00,"))
    lake = _imported(tmp_path, "mark_8h.csv", bars.format(0).replace(":00,", ":00:00,"))
    mark = read_facts(lake, BTC, "mark")
    assert mark.event_time.tolist() == [START + 28_800 * SECOND, START + 57_600 * SECOND]


def test_rows_of_other_symbols_are_left_out(tmp_path: Path) -> None:
    """With --venue every symbol is an instrument of its own; with --instrument only its rows are taken."""
    text = "symbol,date,funding_rate\nBTC/USDT:USDT,2024-01-01,0.1\nETH/USDT:USDT,2024-01-01,0.2\n"
    lake = _imported(tmp_path, "a.csv", text)
    assert read_facts(lake, BTC, "funding").column("rate").tolist() == [0.1]
    path = tmp_path / "a.csv"
    reports = import_facts(tmp_path / "all", Source(path, venue="binance_usdm"))
    assert [report.instrument for report in reports] == [BTC, "binance_usdm:ETHUSDT"]
    with pytest.raises(DataError, match="no rows of binance_usdm:XRPUSDT; it has BTC/USDT:USDT, ETH/USDT:USDT"):
        import_facts(tmp_path / "lake", Source(path, "binance_usdm:XRPUSDT"))
    import_facts(tmp_path / "named", Source(path, "binance_coinm:BTCUSD_PERP", symbol="BTC/USDT:USDT"))
    assert len(read_facts(tmp_path / "named", "binance_coinm:BTCUSD_PERP", "funding")) == 1


def test_bad_cells_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    """A rate that is no number and a time that is none, each with its reason."""
    text = "date,funding_rate\n2024-01-01,0.0001\n2024-01-02,abc\nwhenever,0.0001\n2024-01-03,7\n2024-01-04,0.0001\n"
    lake = _imported(tmp_path, "a.csv", text)
    assert len(read_facts(lake, BTC, "funding")) == 2
    assert sorted(read_refused(lake, BTC, "funding")[1]) == [
        "no rate",
        "rate out of bounds",
        "time before 2009, or none",
    ]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "no columns of a known kind"),
        ("funding_rate\n0.1\n", "no column of times among funding_rate"),
        ("date,funding_rate\nx,0.1\n", "column 'date' holds no time"),
        ("1,2,3\n", "no header line and 3 columns"),
        ("date,open,high,low,close\n2024-01-01,1,1,1,1\n", "one bar .*--interval"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path: Path, text: str, match: str) -> None:
    """In one sentence that names the column and the fix."""
    with pytest.raises(DataError, match=match):
        _imported(tmp_path, "a.csv", text)


def test_importing_twice_and_in_another_form_changes_nothing(tmp_path: Path) -> None:
    """CSV, gzip and Parquet of the same rows are the same facts."""
    lake = _imported(tmp_path, "a.csv", "date,funding_rate\n2024-01-01,0.0001\n2024-01-02,0.0002\n")
    packed, table = tmp_path / "a.csv.gz", tmp_path / "a.parquet"
    packed.write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    pl.read_csv(tmp_path / "a.csv", try_parse_dates=True).write_parquet(table)
    for path in (tmp_path / "a.csv", packed, table):
        (report,) = import_facts(lake, Source(path, BTC))
        assert (report.written, report.known_already) == (0, 2)


def test_lines_with_a_wrong_number_of_cells_are_counted_and_kept(tmp_path: Path) -> None:
    """One cell too few, one too many, bytes that are no text: each refused once, twice imported, the rest goes on."""
    good = b"2024-01-01,0.0001\n2024-01-02\n2024-01-03,0.0002,0.5\n\n2024-01-04,0.0003\n"
    path = tmp_path / "a.csv"
    path.write_bytes(b"date,funding_rate\n" + good + b"2024-01-05,\xff\xfe\n2024-01-06,0.0004\n")
    for written in (3, 0):
        (report,) = import_facts(tmp_path / "lake", Source(path, BTC))
        assert report.written == written
        assert report.rows == 6 == report.written + report.known_already + sum(report.refused.values())
        assert report.refused == {
            "1 cells where the head has 2": 1,
            "3 cells where the head has 2": 1,
            "no rate": 1,
        }
    (lane,) = lanes(tmp_path / "lake")
    assert dict(lane.refused) == report.refused
    (kept,) = (tmp_path / "lake" / "quarantine").glob("kind=funding/*/*/*.jsonl")
    texts = [json.loads(line)["text"] for line in kept.read_text().splitlines()]
    assert texts == ["2024-01-02", "2024-01-03,0.0002,0.5"]


def test_a_flood_of_broken_lines_is_counted_whole(tmp_path: Path) -> None:
    """A thousand are kept, the others are one row; a file of several symbols books them on the venue."""
    text = "symbol,date,funding_rate\nBTCUSDT,2024-01-01,0.1\n" + "x\n" * 1_500 + "BTCUSDT,2024-01-02,0.1\n"
    (tmp_path / "a.csv").write_text(text)
    every, _ = import_facts(tmp_path / "lake", Source(tmp_path / "a.csv", venue="binance_usdm"))
    assert (every.instrument, every.refused) == ("binance_usdm:ALL", {"1 cells where the head has 3": 1_500})
    (kept,) = (tmp_path / "lake" / "quarantine").glob("kind=funding/*/*/*.jsonl")
    assert len(kept.read_text().splitlines()) == 1_001
    assert [sum(lane.refused.values()) for lane in lanes(tmp_path / "lake")] == [1_500, 0]


def test_neither_or_both_of_instrument_and_venue(tmp_path: Path) -> None:
    """Or a kind that no table can hold."""
    for more in ({"instrument": None}, {"venue": "x"}):
        with pytest.raises(DataError, match="give --instrument venue:SYMBOL, or --venue"):
            _imported(tmp_path, "a.csv", "x\n", **more)
    with pytest.raises(DataError, match="onchain cannot be imported from a table"):
        _imported(tmp_path, "a.csv", "x\n", kinds=("onchain",))


def test_the_real_funding_tape_is_complete(tmp_path: Path) -> None:
    """Five symbols, every row, milliseconds kept, eight hours throughout."""
    if not FUNDING.exists():
        pytest.skip(f"{FUNDING} is not on this machine")
    reports = import_facts(tmp_path, Source(FUNDING, venue="binance_usdm"))
    assert sum(report.written for report in reports) == 6_748
    assert not any(report.refused for report in reports)
    tape = read_facts(tmp_path, BTC, "funding")
    assert set(tape.column("interval_s")) == {28_800.0}
    assert (tape.event_time % (3_600 * SECOND) > 0).any()
