"""Walk-forward plans keep labels and embargo apart, and add folds up."""

from __future__ import annotations

from typing import Any

import pytest

from cryptoai.backtesting.walk import FoldRow, in_sample, plan, walk_of
from cryptoai.backtesting.windows import Window
from cryptoai.core.clock import SECOND
from cryptoai.core.config import build
from cryptoai.core.errors import DataError


def _side(net: float, equity: list[float]) -> dict[str, Any]:
    return {"net_return": net, "equity": equity, "sharpe_period": None, "max_drawdown": 0.0, "fills": 1}


def test_every_test_starts_after_the_embargo_behind_the_last_label() -> None:
    """Four tests to the end of the span, the training window grows, nothing reaches over."""
    config = build({"data": {"train_share": 0.6, "embargo_s": 5}})
    splits = plan(Window(0, 1000 * SECOND), config, 4)
    assert [split.train.stop for split in splits] == [(600 + 100 * n) * SECOND for n in range(4)]
    assert splits[-1].test.stop == 1000 * SECOND
    for split in splits:
        assert split.label_ns == SECOND
        assert split.last_row + split.label_ns + 5 * SECOND < split.test.start
        inside = in_sample(split)
        assert inside.stop == split.train.stop
        assert inside.stop - inside.start == split.test.stop - split.test.start


def test_folds_that_are_too_short_are_refused() -> None:
    """A test must hold two decisions."""
    with pytest.raises(DataError, match="fewer folds"):
        plan(Window(0, 100 * SECOND), build({"data": {"embargo_s": 0}}), 25)


def test_folds_compound_and_say_how_much_of_the_ratio_is_kept() -> None:
    """+10 % and -10 % make -1 %; the ratio inside is that of a rising curve, outside it is about nothing."""
    splits = plan(Window(0, 1000 * SECOND), build({}), 2)
    inside = _side(0.1, [100.0, 101.0, 103.0, 104.0])
    rows = [
        FoldRow(0, splits[0], inside, _side(0.1, [100.0, 101.0, 100.0, 101.0]), "r"),
        FoldRow(1, splits[1], inside, _side(-0.1, [100.0, 99.0, 100.0, 99.0]), "r"),
    ]
    walk = walk_of(rows, retrained=False)
    assert walk.net_return == pytest.approx(-0.01)
    assert walk.positive == 0.5
    assert walk.sharpe_inside > 1
    assert walk.kept is not None
    assert abs(walk.kept) < 0.1
