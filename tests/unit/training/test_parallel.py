"""How work is dealt out to the processes that train together."""

from __future__ import annotations

import pytest

from cryptoai.core.errors import InvariantError
from cryptoai.training.parallel import Ranks
from cryptoai.training.stages import shards_of


def test_ranks_share_the_shards_in_order() -> None:
    """Neighbours to each rank, all of them dealt out once; an uneven deal is refused."""
    assert [list(Ranks(rank, 2).share(4)) for rank in (0, 1)] == [[0, 1], [2, 3]]
    with pytest.raises(InvariantError, match="3 shards"):
        Ranks(0, 2).share(3)


@pytest.mark.parametrize(
    ("batch", "world", "shards"), [(32, 1, 1), (64, 1, 2), (64, 2, 2), (128, 4, 4), (64, 3, 6), (4096, 2, 16)]
)
def test_a_step_has_as_many_shards_for_one_process_as_for_few(batch: int, world: int, shards: int) -> None:
    """Of 32 sequences each, at most sixteen unless there are more processes, and a multiple of these."""
    assert shards_of(batch, world) == shards


def test_alone_a_mean_is_the_value_itself() -> None:
    """One rank, no group."""
    assert Ranks().mean({"loss": 2.5}) == {"loss": 2.5}
