"""Folds: tests cover what they should, training never touches them, and a label never reaches in."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.backtesting.folds import Fold, combinatorial, walk_forward
from cryptoai.backtesting.windows import Window
from cryptoai.core.errors import DataError, InvariantError

SPAN = Window(1_000, 101_000)


def covered(windows: tuple[Window, ...]) -> set[int]:
    return {t for window in windows for t in range(window.start, window.stop + 1)}


@pytest.mark.parametrize("rolling", [False, True])
def test_walk_forward_moves_on(rolling: bool) -> None:
    """Five tests in order, the last to the end; training grows, or keeps its length."""
    folds = walk_forward(SPAN, 5, train_share=0.5, label_ns=10, embargo_ns=20, rolling=rolling)
    assert [fold.test[0].start for fold in folds] == [51_021, 61_021, 71_021, 81_021, 91_021]
    assert folds[-1].test[0].stop == SPAN.stop
    lengths = {fold.train[0].stop - fold.train[0].start for fold in folds}
    assert lengths == ({50_000} if rolling else {50_000, 60_000, 70_000, 80_000, 90_000})
    for fold in folds:
        assert fold.train[0].stop + fold.embargo_ns < fold.test[0].start


@given(st.integers(2, 7), st.integers(1, 3), st.integers(0, 50), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_combinatorial_folds_are_apart(groups: int, tests: int, embargo: int, label: int) -> None:
    """Every fold: test whole, training as large as purge and embargo allow, at least the embargo between them."""
    if tests >= groups:
        return
    span = Window(0, 2_000)
    folds = combinatorial(span, groups, tests, label_ns=label, embargo_ns=embargo)
    assert len(folds) == comb(groups, tests)
    for fold in folds:
        judged, learned = covered(fold.test), covered(fold.train)
        assert not judged & learned
        near = {t + d for t in (w.start for w in fold.test) for d in range(-embargo, 0)}
        near |= {t + d for t in (w.stop for w in fold.test) for d in range(1, embargo + 1)}
        assert not near & learned
        everything = covered((span,))
        lost = everything - judged - learned
        assert len(lost) <= 2 * (embargo + 1) * len(fold.test)


def test_each_part_is_tested_equally_often() -> None:
    """C(6, 2) = 15 folds give each of the six parts 5 times: five whole paths."""
    folds = combinatorial(SPAN, 6, 2, label_ns=1, embargo_ns=1)
    counts: dict[int, int] = {}
    for fold in folds:
        for window in fold.test:
            counts[window.start] = counts.get(window.start, 0) + 1
    assert set(counts.values()) == {5}
    assert len(counts) == 6


def test_a_fold_that_leaks_cannot_be_made() -> None:
    """The check is in the constructor, not in the caller."""
    with pytest.raises(InvariantError, match="less than the embargo"):
        Fold((Window(0, 100),), (Window(105, 200),), 1, 5)
    Fold((Window(0, 99),), (Window(105, 200),), 1, 5)


@pytest.mark.parametrize(("folds", "share"), [(0, 0.5), (3, 1.0), (50_000, 0.5)])
def test_what_cannot_be_cut_is_refused(folds: int, share: float) -> None:
    """Too many folds, or no training at all."""
    with pytest.raises(DataError):
        walk_forward(SPAN, folds, train_share=share, label_ns=10, embargo_ns=20)
