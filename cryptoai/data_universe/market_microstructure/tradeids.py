"""Trade ids seen before: a duplicate is refused, whether it comes at once or after a reconnect.

The importer asks about every trade with an id, the scanner shares the state. Ids that grow need no memory; one that
does not is looked up among the last 4,096.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from cryptoai.data_universe.events import Ints
from cryptoai.data_universe.jit import lean

__all__ = ["TradeIds", "newest_id", "remember_id"]

_MEMORY = 4096
_COUNT, _NEWEST = range(2)
_HEAD = 2


@lean
def newest_id(state: Ints) -> int:
    """The greatest id so far, -1 before the first."""
    return int(state[_NEWEST])


@lean
def remember_id(state: Ints, number: int) -> None:
    """Take an id in."""
    state[_HEAD + state[_COUNT] % _MEMORY] = number
    state[_COUNT] += 1
    state[_NEWEST] = max(state[_NEWEST], number)


@lean
def _seen(state: Ints, number: int) -> bool:
    for i in range(min(state[_COUNT], _MEMORY)):  # noqa: SIM110 - compiled
        if state[_HEAD + i] == number:
            return True
    return False


class TradeIds:
    """Ids of one instrument; `state` is shared with compiled code."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Ints = np.full(_HEAD + _MEMORY, -1, np.int64)
        self.state[_COUNT] = 0

    def new(self, given: int | str | None) -> bool:
        """False if this id was seen; a trade without an id is always new."""
        if given is None:
            return True
        grows = isinstance(given, int)
        number = int(given) if grows else int.from_bytes(blake2b(str(given).encode(), digest_size=7).digest())
        if (not grows or number <= newest_id(self.state)) and _seen(self.state, number):
            return False
        remember_id(self.state, number)
        return True
