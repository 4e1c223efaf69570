"""Options by hand, and their paper records against plain averages."""

import numpy as np
import pytest
import torch

from cryptoai.decision_engine.options import HALF_LIVES, OPTIONS, Record, Signals, option_exposures

torch.set_num_threads(1)


def signals(move: float = 0.0, stretch: float = 0.0, carry: float = 0.0) -> Signals:
    return Signals(*(torch.tensor([x]) for x in (move, stretch, carry)))


def offered(**known: float) -> dict[str, float]:
    return dict(zip(OPTIONS, option_exposures(signals(**known))[0].tolist(), strict=True))


def test_each_option_follows_its_own_signal() -> None:
    """Trend with the move, revert against the stretch, carry with the side that is paid; flat never."""
    assert offered(move=1.5) == pytest.approx({"trend": 0.5, "revert": 0.0, "carry": 0.0, "flat": 0.0})
    assert offered(stretch=1.5) == pytest.approx({"trend": 0.0, "revert": -0.5, "carry": 0.0, "flat": 0.0})
    assert offered(carry=-0.05) == pytest.approx({"trend": 0.0, "revert": 0.0, "carry": -0.5, "flat": 0.0})


def test_no_option_holds_more_than_the_budget() -> None:
    """However large a signal is."""
    assert option_exposures(signals(50.0, 50.0, -50.0)).tolist() == [[1.0, -1.0, -1.0, 0.0]]


def test_the_record_is_an_exponential_average() -> None:
    """Averages equal the weighted sums by hand, and the statistic divides by the standard error without skill."""
    rng = np.random.default_rng(0)
    held, returns = rng.uniform(-1, 1, (300, 4)), rng.standard_normal(300)
    record = Record.empty(1)
    for e, r in zip(held, returns, strict=True):
        record = record.after(torch.tensor(e[None]), torch.tensor([r]))
    earned = held[:, 0] * returns
    for k, half in enumerate(HALF_LIVES):
        keep = 0.5 ** (1 / half)
        by_hand = ((1 - keep) * keep ** np.arange(299, -1, -1) * earned).sum()
        assert float(record.averages[0, 0, k]) == pytest.approx(by_hand, rel=1e-6)


def test_without_skill_the_statistics_have_unit_variance() -> None:
    """Over many lives, also early in a record; an option that never held anything shows exactly 0."""
    generator = torch.Generator().manual_seed(0)
    record = Record.empty(20_000)
    for _ in range(200):
        held = torch.rand(20_000, 4, generator=generator) * torch.tensor([1.0, -1.0, 0.5, 0.0])
        record = record.after(held, torch.randn(20_000, generator=generator))
    shown = record.statistics().unflatten(-1, (4, 3))
    assert shown[:, :3].std(0).sub(1).abs().max() < 0.1
    assert shown[:, 3].abs().max() == 0
