"""Replay the recorded tape that comes with CryptoAI, and print the book once a minute of market time.

python examples/01-replay-a-tape/main.py
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from cryptoai.core.clock import SECOND, iso
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.market_microstructure.book import Book
from cryptoai.data_universe.market_microstructure.tape import read_capture

TAPE = Path(str(files("cryptoai.testing"))) / "tapes" / "binance_usdm_btcusdt_20240808.gz"


def main() -> None:
    perp = instrument("binance_usdm:BTCUSDT")
    capture = read_capture(TAPE, perp)
    print(capture.report.summary())
    book, done = Book(), 0
    first, last = int(capture.events.known_at[0]), int(capture.events.known_at[-1])
    for now in range(first + 60 * SECOND, last, 60 * SECOND):
        until = capture.events.until(now)
        book.apply(capture.events, done, until)
        done = until
        print(f"{iso(now)[:19]}  bid {perp.price(book.best_bid)}  ask {perp.price(book.best_ask)}")


if __name__ == "__main__":
    main()
