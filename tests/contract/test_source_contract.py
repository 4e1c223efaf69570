"""What every source of market data must do, whatever its form. Add yours to `RIGS` and all of this holds for it too.

A rig writes a file as its source leaves it, shipped tapes and real captures alike, and says how many lines or cells it
put there, what a line of it looks like that is no line, and what to take out to tear a hole.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from cryptoai.core.clock import MS, SECOND, ReplayClock
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.adapters.ccxt_recorder import Limits, Recorder, connect
from cryptoai.data_universe.asset_registry.registry import INSTRUMENTS, instrument
from cryptoai.data_universe.derivatives.importing import Source, import_facts
from cryptoai.data_universe.importing import import_recording
from cryptoai.data_universe.inspect import lanes
from cryptoai.data_universe.lake import available, read_events
from cryptoai.data_universe.lake_facts import available_facts, read_facts, write_facts
from cryptoai.data_universe.market_microstructure.described import instruments_of
from cryptoai.data_universe.market_microstructure.live import LiveTape
from cryptoai.data_universe.onchain.files import FileSource
from cryptoai.data_universe.onchain.metrics import METRIC_NAMES
from cryptoai.testing.feed_exchange import BINANCE_OPTIONS, Faults, FeedExchange, moved, served
from cryptoai.testing.slices import TAPES

SHARED = Path(__file__).parents[3] / "shared" / "data"
PERP = instrument("binance_usdm:BTCUSDT")
US = 1_704_067_200_000_000
NOW = US * 1000 + 400 * 86_400 * SECOND


@dataclass(frozen=True)
class Rig:
    """`lines` with `garbage` inserted at `spoil`, or without those in [torn), are the same source damaged."""

    path: Path
    lines: list[bytes]
    units: int
    """What the account of a whole import must add up to."""
    take: Callable[[Path, Path], tuple[int, int]]
    """Imports a file into a lake; gives (units accounted for, units refused)."""
    garbage: bytes | None = None
    spoil: int = 0
    torn: tuple[int, int] | None = None
    beside: dict[str, bytes] = field(default_factory=dict)

    def written(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for name, content in self.beside.items():
            (self.path.parent / name).write_bytes(content)
        self.path.write_bytes(b"".join(line + b"\n" for line in self.lines))
        return self.path

    def into(self, lake: Path) -> tuple[int, int]:
        return self.take(self.written(), lake)


def recording(wanted: Instrument | None = None) -> Callable[[Path, Path], tuple[int, int]]:
    def take(path: Path, lake: Path) -> tuple[int, int]:
        found = [wanted] if wanted else instruments_of(path, INSTRUMENTS)[1]
        reports = [import_recording(lake, path, made).events for made in found]
        for report in reports:
            counts = (report.messages, report.ignored, report.quarantined_lines)
            assert sum(sum(each.values()) for each in counts) == report.lines
        return reports[0].lines, sum(reports[0].quarantined_lines.values())

    return take


def table(instrument_id: str | None) -> Callable[[Path, Path], tuple[int, int]]:
    def take(path: Path, lake: Path) -> tuple[int, int]:
        venue = None if instrument_id else "binance_usdm"
        reports = import_facts(lake, Source(path, instrument_id, venue), NOW + 10**18)
        for report in reports:
            assert report.rows == report.written + report.known_already + sum(report.refused.values())
        return sum(report.rows for report in reports), sum(sum(report.refused.values()) for report in reports)

    return take


def onchain(path: Path, lake: Path) -> tuple[int, int]:
    source = FileSource(path, "BTC", NOW)
    facts = source.read("BTC", METRIC_NAMES, 0, NOW)
    report = write_facts(lake, "chain:BTC", facts, path.name, now_ns=NOW)
    refused = sum(source.refused.values()) + sum(report.refused.values())
    return report.written + report.known_already + refused, refused


def tape(instrument_id: str, count: int) -> list[bytes]:
    made = instrument(instrument_id)
    with gzip.open(TAPES / f"{made.venue}_{made.symbol.lower()}_20240808.gz") as lines:
        return [line.rstrip(b"\n") for line in itertools.islice(lines, count)]


def _depths(lines: list[bytes]) -> tuple[int, int]:
    """A run of lines with depth updates, well after the snapshot."""
    places = [place for place, line in enumerate(lines) if b"depthUpdate" in line]
    middle = places[len(places) * 3 // 4]
    return middle, middle + 1


def raw(folder: Path, instrument_id: str) -> Rig:
    lines = tape(instrument_id, 6_000)
    torn, garbage = _depths(lines), lines[4_000][:19] + b" {oops"
    return Rig(folder / "capture", lines, len(lines), recording(instrument(instrument_id)), garbage, 4_000, torn)


def own(folder: Path) -> Rig:
    """What `LiveTape` writes of the messages of the shipped tape."""
    clock = ReplayClock(1_723_161_000 * SECOND)
    live = LiveTape(folder / "live", PERP.venue, (PERP,), clock)
    for line in tape(PERP.id, 4_000):
        local, _, body = line.partition(b" ")
        clock.advance_to(max(clock.now_ns(), int(local) + 2 * SECOND))
        live.take(body)
    live.close()
    lines = live.path.read_bytes().splitlines()
    garbage = lines[3_000][:19] + b" {oops"
    return Rig(folder / "own.tape", lines, len(lines), recording(PERP), garbage, 3_000, _depths(lines))


async def _recorded(folder: Path) -> Path:
    """ccxt.pro's own class, recorded while the local exchange moves."""
    clock = ReplayClock(1_723_161_256_000 * MS)
    feed = FeedExchange(clock, Faults(np.random.default_rng(3)))
    live = LiveTape(folder / "live", PERP.venue, (PERP,), clock)
    exchange = connect(PERP.venue, {"enableRateLimit": False})
    exchange.options.update(BINANCE_OPTIONS, enableUnifiedAccount=True)
    exchange.has["fetchCurrencies"] = False
    async with served(feed) as address:
        exchange.urls["api"] = moved(exchange.urls["api"], address)
        recorder = Recorder(exchange, live, clock, lambda _piece: None, Limits(first_wait_s=0.001))
        running = asyncio.ensure_future(recorder.run([PERP.symbol]))
        while not feed.subscribed:  # noqa: ASYNC110 - the server says nothing, it is asked
            await asyncio.sleep(0)
        for _ in range(80):
            await feed.step()
            for _ in range(8):
                await asyncio.sleep(0)
        recorder.stop()
        await running
    return live.path


def fed(folder: Path) -> Rig:
    """What the recorder wrote of the local exchange."""
    lines = asyncio.run(_recorded(folder)).read_bytes().splitlines()
    middle = len(lines) * 3 // 4
    return Rig(folder / "fed.tape", lines, len(lines), recording(PERP), lines[middle][:19] + b" {oops", middle)


def connections(folder: Path) -> Rig:
    """The shipped tape in the form that capture tools write for several connections."""
    messages, replies = [], []
    for line in tape(PERP.id, 4_000):
        local, _, body = line.partition(b" ")
        when = b"%d.%09d" % divmod(int(local), SECOND)
        inner = orjson.loads(body)
        if "lastUpdateId" in inner and "stream" not in inner:
            replies.append(b"https://fapi.binance.com/fapi/v1/depth?symbol=BTCUSDT -> %b: %b" % (when, body))
        else:
            messages.append(b"%b: %b" % (when, body))
    beside = {"BINANCE_FUTURES.http.0.0": b"\n".join([*replies, b""])}
    units, garbage = len(messages) + len(replies), messages[3_000].partition(b": ")[0] + b": {oops"
    path = folder / "BINANCE_FUTURES.ws.1.0"
    return Rig(path, messages, units, recording(PERP), garbage, 3_000, _depths(messages), beside)


def tardis(folder: Path, kind: str) -> Rig:
    heads = {
        "trades": "id,side,price,amount",
        "derivative_ticker": "funding_timestamp,funding_rate,predicted_funding_rate,open_interest,last_price,"
        "index_price,mark_price",
        "incremental_book_L2": "is_snapshot,side,price,amount",
    }
    rows = {
        "trades": lambda n: f"{n},buy,{42_000 + n % 7},0.5",
        "derivative_ticker": lambda n: f"{US + 10**10},0.0001,,{900 + n},42000,42001,{42_000 + n % 7}",
        "incremental_book_L2": lambda n: f"{str(n < 2).lower()},{('bid', 'ask')[n % 2]},{42_000 + n % 2},{1 + n % 5}",
    }[kind]
    stem = "binance-futures,BTCUSDT"
    lines = [f"{stem},{US + 1000 * n},{US + 1000 * n + 500},{rows(n)}".encode() for n in range(400)]
    if kind == "incremental_book_L2":  # one message
        lines[1] = lines[0].replace(b"bid,42000", b"ask,42001")
    head = f"exchange,symbol,timestamp,local_timestamp,{heads[kind]}".encode()
    units = len(lines) - (kind == "incremental_book_L2")
    return Rig(folder / f"{kind}.csv", [head, *lines], units, recording(PERP), f"{stem},x,y,,,,".encode(), 200)


def bars(folder: Path) -> Rig:
    lines = [f"{US // 1000 + 60_000 * n},10,12,9,11,{n}".encode() for n in range(300)]
    head = b"open_time,open,high,low,close,volume"
    return Rig(folder / "bars.csv", [head, *lines], 300, table(PERP.id), b"1704067200000,10,12", 150, (100, 110))


def payments(folder: Path) -> Rig:
    lines = [f"{US // 1000 + 28_800_000 * n + n % 9},BTCUSDT,0.0001".encode() for n in range(300)]
    head = b"fundingTime,symbol,fundingRate"
    return Rig(folder / "funding.csv", [head, *lines], 300, table(PERP.id), b"a,b,c,d", 150)


def chain(folder: Path) -> Rig:
    days = [np.datetime_as_string(np.datetime64("2024-01-01") + n) for n in range(60)]
    lines = [f"{day},{500_000 + n},1.0{n}".encode() for n, day in enumerate(days)]
    return Rig(folder / "chain.csv", [b"time,transactions,sopr", *lines], 120, onchain, b"2024-01-05,1,2,3", 30)


def shared(folder: Path, name: str, wanted: str) -> Rig:
    """A real capture of several connections, unpacked."""
    if not (SHARED / "ws_captures").is_dir():
        pytest.skip("the real captures are not on this machine")
    venue = name.split(".", maxsplit=1)[0]
    contents = {f.name: gzip.decompress(f.read_bytes()) for f in (SHARED / "ws_captures").glob(f"{venue}.*gz")}
    beside = {file.removesuffix(".gz"): content for file, content in contents.items()}
    lines = beside.pop(name).splitlines()
    texts = [content.splitlines() for file, content in beside.items() if file != f"{venue}.0"]
    units = sum(bool(line.strip()) for line in itertools.chain(lines, *texts))
    path = folder / name
    garbage = lines[len(lines) // 2].partition(b": ")[0] + b": {oops"

    def take(file: Path, lake: Path) -> tuple[int, int]:
        return recording(instruments_of(file, {}, wanted)[1][0])(file, lake)

    return Rig(path, lines, units, take, garbage, len(lines) // 2, beside=beside)


def parquet(folder: Path, name: str, units: int) -> Rig:
    path = SHARED / "perp_candles" / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    return Rig(folder / name, [], units, lambda _path, lake: table(None if "8h" in name else PERP.id)(path, lake))


RIGS: dict[str, Callable[[Path], Rig]] = {
    "raw Binance futures": lambda folder: raw(folder, PERP.id),
    "raw Binance spot": lambda folder: raw(folder, "binance_spot:BTCUSDT"),
    "our recording": own,
    "recorder on the local exchange": fed,
    "several connections": connections,
    "Tardis trades": lambda folder: tardis(folder, "trades"),
    "Tardis derivative_ticker": lambda folder: tardis(folder, "derivative_ticker"),
    "Tardis incremental_book_L2": lambda folder: tardis(folder, "incremental_book_L2"),
    "candles": bars,
    "funding": payments,
    "on-chain file": chain,
    "real Bybit": lambda folder: shared(folder, "BYBIT.ws.25.0", "bybit:ETHUSDT"),
    "real Coinbase": lambda folder: shared(folder, "COINBASE.ws.28.0", "coinbase:SKL-USD"),
    "real Binance": lambda folder: shared(folder, "BINANCE_FUTURES.ws.1.0", "binance_usdm:SUSHIUSDT"),
    "real candles": lambda folder: parquet(folder, "BTC_USDT_USDT_perp_5m_2024-01_2024-05.parquet", 38_780),
    "real funding": lambda folder: parquet(folder, "usdm_8h_funding_rate_2023-01_2024-05.parquet", 6_748),
}


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path / "source")


def rows(lake: Path) -> dict[str, str]:
    """Fingerprint of every tape of a lake."""
    events = {name: read_events(lake, name).fingerprint() for name in available(lake)}
    facts = {f"{name} {kind}": read_facts(lake, name, kind).fingerprint() for name, kind in available_facts(lake)}
    return events | facts


def files(lake: Path) -> dict[str, bytes]:
    return {str(path.relative_to(lake)): path.read_bytes() for path in sorted(lake.rglob("*")) if path.is_file()}


def test_every_line_is_accounted_for(rig: Rig, tmp_path: Path) -> None:
    """Kept, ignored or refused, each exactly once."""
    assert rig.into(tmp_path / "lake")[0] == rig.units
    assert rows(tmp_path / "lake")


def test_rows_are_in_the_order_in_which_they_became_known(rig: Rig, tmp_path: Path) -> None:
    """And nothing is known before it happened."""
    rig.into(tmp_path / "lake")
    tapes = [read_events(tmp_path / "lake", name) for name in available(tmp_path / "lake")]
    facts = [read_facts(tmp_path / "lake", *each) for each in available_facts(tmp_path / "lake")]
    for piece in [*tapes, *facts]:
        assert np.all(np.diff(piece.known_at) >= 0)
        assert np.all(piece.event_time <= piece.known_at)


def test_a_second_import_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    """Not a byte, and it accounts for the same lines."""
    first = rig.into(tmp_path / "lake")
    before = files(tmp_path / "lake")
    assert rig.into(tmp_path / "lake") == first
    assert files(tmp_path / "lake") == before


def test_two_readers_get_the_same_rows(rig: Rig, tmp_path: Path) -> None:
    """Whoever imports, whenever."""
    for lake in ("one", "two"):
        rig.into(tmp_path / lake)
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


def test_a_line_that_is_none_is_refused_and_the_rest_goes_on(rig: Rig, tmp_path: Path) -> None:
    """One more is accounted for and refused; every row is as without it."""
    if rig.garbage is None:
        pytest.skip("a Parquet file has no lines; its bytes have checksums")
    clean = rig.into(tmp_path / "clean")
    spoiled = replace(rig, lines=[*rig.lines[: rig.spoil], rig.garbage, *rig.lines[rig.spoil :]])
    total, refused = spoiled.into(tmp_path / "spoiled")
    assert (total, refused) == (clean[0] + 1, clean[1] + 1)
    assert rows(tmp_path / "spoiled") == rows(tmp_path / "clean")


def test_what_was_refused_can_be_looked_at(rig: Rig, tmp_path: Path) -> None:
    """In the quarantine beside the lake, or counted where a source keeps no lines."""
    if rig.garbage is None or rig.take is onchain:
        pytest.skip("this source has no lines that could be kept")
    replace(rig, lines=[*rig.lines[: rig.spoil], rig.garbage, *rig.lines[rig.spoil :]]).into(tmp_path / "lake")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "lake" / "quarantine").rglob("*.jsonl"))
    assert orjson.dumps(rig.garbage.decode())[1:-1] in kept


def test_what_is_missing_is_marked(rig: Rig, tmp_path: Path) -> None:
    """A hole where the source can prove that something is missing; never one in a whole tape."""
    if rig.torn is None:
        pytest.skip("this source does not say when something is missing")
    rig.into(tmp_path / "whole")
    replace(rig, lines=[*rig.lines[: rig.torn[0]], *rig.lines[rig.torn[1] :]]).into(tmp_path / "torn")
    counts = [sum(len(lane.holes) for lane in lanes(tmp_path / lake)) for lake in ("whole", "torn")]
    assert counts == [0, 1]
