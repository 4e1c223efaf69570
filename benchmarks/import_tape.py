"""Raw capture to event rows, beside merely parsing the same lines with orjson (the floor of any importer)."""

from __future__ import annotations

import gzip
import statistics

import orjson
from harness import TAPES, rate, report, seconds

from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.market_microstructure.tape import read_capture

TAPE = TAPES / "binance_usdm_btcusdt_20240808.gz"


def parse_only() -> int:
    with gzip.open(TAPE) as lines:
        return sum(1 for line in lines if orjson.loads(line[20:]))


def main() -> None:
    floor = seconds(parse_only)
    ours = seconds(lambda: read_capture(TAPE, instrument("binance_usdm:BTCUSDT")))
    lines = parse_only()
    ratio = statistics.median(floor) / statistics.median(ours)
    report("import", unit="lines", lines=lines, **rate(lines, ours), share_of_orjson_speed=round(ratio, 2))


if __name__ == "__main__":
    main()
