"""Raw capture to the lake, beside merely parsing the same lines with orjson (the floor of any importer).

Both read the same gzip file; ours also checks every id, judges every price and writes Parquet durably. `--tiles N`
makes the capture N times longer first and tells the memory that its import took, over what the process had before.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import statistics
import tempfile
from pathlib import Path

import orjson
from harness import TAPES, rate, report, seconds

from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.lake import import_capture
from cryptoai.data_universe.market_microstructure.tape import read_capture

TAPE = TAPES / "binance_usdm_btcusdt_20240808.gz"
PERP = instrument("binance_usdm:BTCUSDT")


def parse_only() -> int:
    with gzip.open(TAPE) as lines:
        return sum(1 for line in lines if orjson.loads(line[20:]))


def to_lake() -> None:
    with tempfile.TemporaryDirectory() as folder:
        import_capture(Path(folder), TAPE, PERP)


def tiled(path: Path, tiles: int) -> None:
    """The capture again and again, each time later: one tape with a hole, ended by its snapshot, at each joint."""
    with gzip.open(TAPE) as raw, path.open("wb") as out:
        lines = raw.read().splitlines()
        for n in range(tiles):
            shift = n * 400_000
            out.writelines(_later(line, shift) for line in lines)


def _later(line: bytes, shift_ms: int) -> bytes:
    """Times moved; ids too, so that the chain does not look like a repetition."""
    local, _, text = line.partition(b" ")
    message = orjson.loads(text)
    body = message.get("data", message)
    for key in {"E", "T"} & body.keys():
        body[key] += shift_ms
    for key in {"U", "u", "pu", "t", "lastUpdateId"} & body.keys():
        body[key] += shift_ms * 100_000
    return b"%d %b\n" % (int(local) + shift_ms * 1_000_000, orjson.dumps(message))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(tiles: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiled"
        tiled(path, tiles)
        import_capture(Path(folder) / "first", TAPE, PERP)  # libraries and compiled code are there from now on
        before = peak_mb()
        made = import_capture(Path(folder) / "lake", path, PERP)
        size = round(path.stat().st_size / 2**20)
        report("import_memory", file_mb=size, rows=made.total_rows, before_mb=round(before), peak_mb=round(peak_mb()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiles", type=int, default=0)
    tiles = parser.parse_args().tiles
    if tiles:
        memory(tiles)
        return
    floor = seconds(parse_only)
    rows, ours = seconds(lambda: read_capture(TAPE, PERP)), seconds(to_lake)
    lines = parse_only()
    shares = [round(statistics.median(floor) / statistics.median(taken), 2) for taken in (ours, rows)]
    names = {"share_of_orjson_speed": shares[0], "share_to_rows_only": shares[1]}
    report("import", unit="lines", lines=lines, **rate(lines, ours), **names)


if __name__ == "__main__":
    main()
