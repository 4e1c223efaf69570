"""Lives that step at once: ends, true successors, and the judge's view of them."""

import pytest
import torch

from cryptoai.testing.envs.lives import Lives, Moment
from cryptoai.testing.envs.probes import Perpetuity, TwoSteps


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Counting(Lives):
    """The state counts the steps of a life; a life ends truly at five."""

    observation_dim = 1

    def born(self, count: int) -> torch.Tensor:
        return torch.zeros(count, 1)

    def advance(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        after = state + 1
        return after, action[..., 0], after[..., 0] >= 5


def lived(environment: Lives, steps: int) -> list[Moment]:
    return [environment.step(torch.zeros(environment.lives, 1)) for _ in range(steps)]


def test_successor_is_where_the_action_led_and_observation_where_the_next_begins() -> None:
    """At an end the two differ: the successor is the last state, the observation a new life's first."""
    environment = Counting(3, seeded(), limit=100)
    last = lived(environment, 5)[-1]
    assert last.terminated.all()
    assert last.successor.flatten().tolist() == [5.0, 5.0, 5.0]
    assert last.observation.flatten().tolist() == [0.0, 0.0, 0.0]


def test_time_limit_truncates_and_never_terminates() -> None:
    """A limit below the true end cuts every life, at ages that were drawn apart."""
    environment = Counting(200, seeded(), limit=3)
    first = environment.step(torch.zeros(200, 1))
    assert 0 < int(first.truncated.sum()) < 200
    assert not first.terminated.any()
    cut = first.truncated
    assert (first.successor[cut] == 1.0).all()
    assert (first.observation[cut] == 0.0).all()
    later = [environment.step(torch.zeros(200, 1)).truncated for _ in range(3)]
    assert torch.stack(later).sum(0).eq(1).all()


def test_a_true_end_at_the_limit_is_an_end() -> None:
    """Both at once is a termination: there is no future to bootstrap."""
    moments = lived(Counting(64, seeded(), limit=5), 5)
    assert not any((moment.terminated & moment.truncated).any() for moment in moments)
    assert any(moment.terminated.any() for moment in moments)


def test_lives_follow_their_generator_alone() -> None:
    """Equal seeds live equal lives whatever the global seed is."""
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        runs.append(
            [
                moment.observation
                for moment in lived(
                    Perpetuity(
                        5,
                        seeded(4),
                    ),
                    20,
                )
            ]
        )
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_the_judge_is_told_truncation_and_the_true_successor() -> None:
    """stable-baselines3 gets terminal observations, and a time limit only where a life was cut."""
    judge = pytest.importorskip("cryptoai.testing.envs.judge", exc_type=ImportError)
    two = judge.JudgedLives(TwoSteps(4, seeded()))
    zeros = torch.zeros(4, 1).numpy()
    two.step(zeros)
    observation, reward, done, infos = two.step(zeros)
    assert done.all()
    assert reward.tolist() == [1.0] * 4
    assert observation.flatten().tolist() == [-1.0] * 4
    assert all(info["terminal_observation"].tolist() == [1.0] for info in infos)
    assert not any(info["TimeLimit.truncated"] for info in infos)
    cut = judge.JudgedLives(Perpetuity(64, seeded()))
    _, _, done, infos = cut.step(torch.zeros(64, 1).numpy())
    assert done.any()
    assert [bool(info.get("TimeLimit.truncated")) for info in infos] == done.tolist()
