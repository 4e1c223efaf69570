"""What the policy is paid, by hand."""

import pytest
import torch

from cryptoai.decision_engine.reward import reward, wanted_exposure


def act(direction: float, size: float, leverage: float = -1.0, timing: float = 1.0) -> torch.Tensor:
    return torch.tensor([[direction, size, leverage, timing]])


def test_at_full_urgency_it_is_the_plain_trading_result() -> None:
    """exposure x return and -cost x |change|, by hand."""
    step = reward(act(-0.8, 0.5), torch.tensor([0.3]), torch.tensor([-2.0]), cost=0.1)
    assert float(step.exposure) == pytest.approx(-0.4)
    assert step.reward[0, :2].tolist() == pytest.approx([0.8, -0.07])


def test_a_patient_order_trades_half_at_maker_cost() -> None:
    """From 0 toward 1 with timing -1: half is held, at .4 of the cost."""
    step = reward(act(1, 1, timing=-1), torch.tensor([0.0]), torch.tensor([1.0]), cost=1.0)
    assert float(step.exposure) == pytest.approx(0.5)
    assert step.reward[0, :2].tolist() == pytest.approx([0.5, -0.2])


def test_a_negative_size_is_flat() -> None:
    """Direction does not matter when the size is negative, as for `core.messages.Action`."""
    assert wanted_exposure(torch.tensor([[1.0, -0.5, 0.0, 0.0], [-1.0, -1.0, 0.0, 0.0]])).tolist() == [0.0, 0.0]


def test_every_objective_by_hand() -> None:
    """From .2 to -1 at cost .1, return 2, drawdown 1, sd .5: all five terms and the drawdown after them."""
    step = reward(
        act(-1, 1), torch.tensor([0.2]), torch.tensor([2.0]), cost=0.1,
        spread=torch.tensor([0.5]), drawdown=torch.tensor([1.0]),
    )  # fmt: skip
    eta = 1.6448536 * 0.5
    assert float(step.drawdown) == pytest.approx(1 + 2 + 0.12)
    assert step.reward[0].tolist() == pytest.approx([-2.0, -0.12, -2.12, -(eta + (2 - eta) / 0.05), -1.2], rel=1e-5)


def test_return_in_expectation_keeps_the_rest_of_what_happened() -> None:
    """With an expected return of .5 and a drawn one of -3: return .5, but drawdown and tail of a loss of 3."""
    step = reward(act(1, 1), torch.ones(1), torch.tensor([-3.0]), cost=1.0, expected=torch.tensor([0.5]))
    assert step.reward[0].tolist() == pytest.approx([0.5, 0.0, -3.0, -(1.6448536 + (3 - 1.6448536) / 0.05), 0.0])


def test_leverage_is_charged_only_on_what_is_held() -> None:
    """Full leverage costs .01 a unit of exposure, and nothing when flat."""
    held = reward(act(1, 1, leverage=1), torch.tensor([1.0]), torch.tensor([0.0]), cost=1.0)
    flat = reward(act(0, 0, leverage=1), torch.tensor([0.0]), torch.tensor([0.0]), cost=1.0)
    assert float(held.reward[0, 1]) == pytest.approx(-0.01)
    assert flat.reward.abs().sum() == 0.0
