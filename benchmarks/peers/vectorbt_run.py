"""vectorbt's moving-average cross over a table of windows, as a worker of benchmarks/backtest.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import vectorbt as vbt
from protocol import Answer, Make, Run, serve


def prepare(path: str) -> tuple[int, Mapping[str, Make]]:
    file = np.load(path)
    windows, fee = file["windows"], float(file["fee"])
    index = pd.date_range("2024-01-01", periods=len(file["close"]), freq="5min")
    opens, closes = (pd.Series(file[name].astype(float), index) for name in ("open", "close"))

    def cross(pairs: np.ndarray) -> Answer:
        fast = vbt.MA.run(closes, pairs[:, 0].tolist(), short_name="fast", per_column=False)
        slow = vbt.MA.run(closes, pairs[:, 1].tolist(), short_name="slow", per_column=False)
        above = fast.ma_above(slow).vbt.fshift(1, fill_value=False)
        below = fast.ma_below(slow).vbt.fshift(1, fill_value=False)
        folio = vbt.Portfolio.from_signals(closes, above, below, price=opens, fees=fee, init_cash=1.0)
        returns, trades = folio.total_return(), folio.orders.count()
        return {
            "after": lambda: {
                "actions": int(np.sum(trades)),
                "fills": int(np.sum(trades)),
                "returns": np.atleast_1d(returns).tolist(),
            }
        }

    def maker(pairs: np.ndarray) -> Make:
        def make() -> Run:
            return lambda: cross(pairs)

        return make

    return len(closes), {"one": maker(windows[:1]), "grid": maker(windows)}


if __name__ == "__main__":
    serve("vectorbt 1.2.0", prepare)
