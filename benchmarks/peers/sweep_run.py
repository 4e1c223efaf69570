"""Our sweep of moving-average crosses over candles, as a worker of backtest.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from protocol import Answer, Make, Run, serve

from cryptoai.backtesting.sweep import sma_cross, sweep


def load(path: str) -> tuple[int, Mapping[str, Make]]:
    file = np.load(path)
    opens, closes, windows, fee = file["open"], file["close"], file["windows"], float(file["fee"])

    def maker(pairs: np.ndarray) -> Make:
        def run() -> Answer:
            result = sweep(opens, closes, sma_cross, pairs, fee=fee)
            trades = int(result.trades.sum())
            return {"actions": trades, "after": lambda: {"returns": result.returns.tolist()}}

        def make() -> Run:
            return run

        return make

    return len(closes), {"one": maker(windows[:1]), "grid": maker(windows)}


if __name__ == "__main__":
    serve("cryptoai", load)
