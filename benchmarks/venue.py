"""The simulated exchange over the whole tape without orders: rows per second of the matching kernel."""

from __future__ import annotations

from harness import TAPES, rate, report, seconds

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.venue import SimVenue
from cryptoai.core.money import Money
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.market_microstructure.tape import read_capture


def main() -> None:
    perp = instrument("binance_usdm:BTCUSDT")
    events = read_capture(TAPES / "binance_usdm_btcusdt_20240808.gz", perp).events
    end = int(events.known_at[-1])

    def replay() -> None:
        SimVenue((Feed(perp, events),), Assumptions(), Money(100_000)).poll(end)

    report("venue", unit="rows", rows=len(events), **rate(len(events), seconds(replay)))


if __name__ == "__main__":
    main()
