"""The replay is a ring that keeps true successors."""

import pytest
import torch

from cryptoai.core.errors import InvariantError
from cryptoai.decision_engine.replay import Experience, Replay


def steps(first: int, count: int) -> Experience:
    """Steps numbered from `first`; the successor of n is n + 1, every fourth step truly ends."""
    number = torch.arange(first, first + count, dtype=torch.float32).unsqueeze(-1)
    return Experience(number, number / 100, number * 2, number + 1, number.squeeze(-1) % 4 == 0)


def test_oldest_steps_are_overwritten() -> None:
    """After seven steps a ring of five holds the last five, each row whole."""
    replay = Replay(5, observation_dim=1, action_dim=1)
    for first, count in ((0, 3), (3, 4)):
        replay.add(steps(first, count))
    drawn = replay.draw(500, torch.Generator().manual_seed(0))
    assert replay.size == 5
    assert set(drawn.observations.flatten().tolist()) == {2.0, 3.0, 4.0, 5.0, 6.0}
    assert torch.equal(drawn.successors, drawn.observations + 1)
    assert torch.equal(drawn.rewards, drawn.observations * 2)
    assert torch.equal(drawn.terminated, drawn.observations.squeeze(-1) % 4 == 0)


def test_storage_is_allocated_once() -> None:
    """Adding moves no tensor."""
    replay = Replay(8, observation_dim=1, action_dim=1)
    replay.add(steps(0, 8))
    before = replay.observations().data_ptr()
    replay.add(steps(8, 5))
    assert replay.observations().data_ptr() == before


def test_draws_follow_their_generator_and_are_uniform() -> None:
    """Equal seeds draw equal rows, and each of four rows a quarter of the time."""
    replay = Replay(4, observation_dim=1, action_dim=1)
    replay.add(steps(0, 4))
    first, second = (replay.draw(20_000, torch.Generator().manual_seed(3)).observations for _ in "ab")
    assert torch.equal(first, second)
    assert (first.flatten().long().bincount() / 20_000).tolist() == pytest.approx([0.25] * 4, abs=0.015)


def test_misuse_is_refused() -> None:
    """An empty replay, too many steps at once, and a missing axis are errors, not guesses."""
    replay = Replay(4, observation_dim=1, action_dim=1)
    with pytest.raises(InvariantError, match="empty"):
        replay.draw(1, torch.Generator())
    with pytest.raises(InvariantError, match="5 steps at once"):
        replay.add(steps(0, 5))
    good = steps(0, 2)
    flat = Experience(good.observations, good.actions, good.rewards.squeeze(-1), good.successors, good.terminated)
    with pytest.raises(InvariantError, match="rewards"):
        replay.add(flat)
