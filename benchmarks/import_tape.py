"""Raw capture to the lake, beside merely parsing the same lines with orjson (the floor of any importer).

Both read the same gzip file in turn; ours also checks every id, judges every price and writes Parquet durably.
`--tiles N` makes the capture N times longer and tells the greatest memory of a fresh process that imports it.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import subprocess
import sys
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


def to_rows() -> None:
    read_capture(TAPE, PERP)


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


def memory(tiles: int) -> None:
    """The parent writes the long capture and, so that numba's cache is warm, imports the short one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiled"
        tiled(path, tiles)
        to_lake()
        subprocess.run([sys.executable, __file__, "--import", str(path)], check=True)


def measured(path: Path) -> None:
    """Import, and tell the peak of this process (VmHWM; ru_maxrss would count the parent's)."""
    loaded = status_mb("VmHWM")
    with tempfile.TemporaryDirectory() as folder:
        made = import_capture(Path(folder), path, PERP)
    size = round(path.stat().st_size / 2**20)
    report("import_memory", file_mb=size, rows=made.total_rows, loaded_mb=loaded, peak_mb=status_mb("VmHWM"))


def status_mb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line.split()[1] for line in lines if line.startswith(name))) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiles", type=int, default=0)
    parser.add_argument("--import", type=Path, dest="path")
    chosen = parser.parse_args()
    if chosen.tiles or chosen.path:
        measured(chosen.path) if chosen.path else memory(chosen.tiles)
        return
    for work in (parse_only, to_lake, to_rows):
        work()
    rounds = [[seconds(work, repeats=1, warm=0)[0] for work in (parse_only, to_lake, to_rows)] for _ in range(7)]
    floor, ours, rows = (list(taken) for taken in zip(*rounds, strict=True))
    shares = [
        round(statistics.median(parse / taken for parse, taken in zip(floor, column, strict=True)), 2)
        for column in (ours, rows)
    ]
    lines = parse_only()
    names = {"share_of_orjson_speed": shares[0], "share_to_rows_only": shares[1]}
    report("import", unit="lines", lines=lines, **rate(lines, ours), **names)


if __name__ == "__main__":
    main()
