"""The split between training and test."""

import pytest

from cryptoai.backtesting.windows import Split, Window, split
from cryptoai.core.clock import SECOND
from cryptoai.core.config import DataConfig
from cryptoai.core.errors import DataError, InvariantError


def test_split_keeps_the_embargo_between_the_last_label_and_the_test() -> None:
    """The last training label plus the embargo ends strictly before the first test time."""
    cut = split(0, 100 * SECOND, DataConfig(train_share=0.6, embargo_s=2.0), label_ns=5 * SECOND)
    assert cut.train == Window(0, 60 * SECOND)
    assert cut.last_row == 55 * SECOND
    assert cut.test == Window(62 * SECOND + 1, 100 * SECOND)


def test_a_label_that_reaches_into_the_embargo_is_refused() -> None:
    """Windows that leak cannot be built at all."""
    with pytest.raises(InvariantError, match="embargo"):
        Split(Window(0, 10), Window(12, 20), label_ns=3, embargo_ns=2)


def test_a_tape_too_short_to_split_is_refused() -> None:
    """Nothing is left of a three-second tape after a five-second label and the embargo."""
    with pytest.raises(DataError, match="too short"):
        split(0, 3 * SECOND, DataConfig(), label_ns=5 * SECOND)


def test_a_window_cannot_run_backwards() -> None:
    """A window that ends before it starts is an error."""
    with pytest.raises(DataError, match="before it starts"):
        Window(2, 1)
