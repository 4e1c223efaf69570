"""The micro-price of Stoikov (2018), learnt as the tape goes by: the mid plus the move that its book leads to.

The touch is a finite chain: ten shares of queue imbalance times two states of the spread (one tick, more). Counted are,
for each state, the next states without a move of the mid, the next states with one, and the moves. From these
`solve` finds the expected sum of the next `MOVES` moves of the mid, once each second, so that a reading is one look-up.
`feature_kernel` feeds it and `feature_kernel_emit` reads it. Each change is counted a second time with the sides
exchanged, as in the paper, so that the chain has no drift of its own. A state that was seen seldom is drawn to no
move by one imagined observation. Nothing here looks at a change after the one given, and nothing grows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from cryptoai.data_universe.jit import njit

__all__ = ["SEEN", "Moves", "Reals", "forget_moves", "inner", "moves", "observe", "place", "solve"]

Reals = npt.NDArray[np.float64]
Side = tuple[int, int]
"""(price in ticks, quantity in steps) of a best level."""

SHARES = 10
STATES = 2 * SHARES
MOVES = 6
"""Moves of the mid that are summed up; the paper's G6."""
MOST = 20_000.0
"""Changes held before all are halved: some minutes of a busy market."""

# places of Moves.tally
SEEN, HELD, FRESH = range(3)

Function = TypeVar("Function", bound=Callable[..., object])


def inner(function: Function) -> Function:
    """Compiles what only compiled code calls: cached as part of its caller, no Python face, so it builds fast."""
    options: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True}
    compiled: Function = njit(**options)(function)
    return compiled


class Moves(NamedTuple):
    """Counts of the chain and its solution: `expected[state]` is the move to come, in ticks."""

    tally: Reals
    stay: Reals
    move: Reals
    size: Reals
    expected: Reals


def moves() -> Moves:
    """A chain of which nothing was seen."""
    square = (STATES, STATES)
    return Moves(np.zeros(3), np.zeros(square), np.zeros(square), np.zeros(STATES), np.zeros(STATES))


@inner
def place(bid: Side, ask: Side) -> int:
    """The state of a touch; the same with its sides exchanged is `_mirror` of it."""
    share = min(SHARES - 1, SHARES * bid[1] // max(1, bid[1] + ask[1]))
    return int(share + (0 if ask[0] - bid[0] == 1 else SHARES))


@inner
def _mirror(state: int) -> int:
    return SHARES - 1 - state if state < SHARES else STATES + SHARES - 1 - state


@inner
def observe(moves: Moves, old: tuple[Side, Side], new: tuple[Side, Side]) -> None:
    """One change of the touch, and its mirror image."""
    before, after = place(old[0], old[1]), place(new[0], new[1])
    moved = 0.5 * (new[0][0] + new[1][0] - old[0][0] - old[1][0])
    table = moves.stay if moved == 0 else moves.move
    table[before, after] += 1.0
    table[_mirror(before), _mirror(after)] += 1.0
    moves.size[before] += moved
    moves.size[_mirror(before)] -= moved
    tally = moves.tally
    tally[SEEN] += 1.0
    tally[HELD] += 1.0
    tally[FRESH] = 1.0
    if tally[HELD] >= MOST:
        tally[HELD] *= 0.5
        for x in range(STATES):
            moves.size[x] *= 0.5
            for y in range(STATES):
                moves.stay[x, y] *= 0.5
                moves.move[x, y] *= 0.5


@inner
def forget_moves(moves: Moves) -> None:
    """As new."""
    for part in (moves.tally, moves.size, moves.expected):
        for x in range(len(part)):
            part[x] = 0.0
    for x in range(STATES):
        for y in range(STATES):
            moves.stay[x, y] = moves.move[x, y] = 0.0


@inner
def solve(moves: Moves) -> None:
    """G = sum of B^i G1 for i < MOVES, G1 = (I - Q)^-1 k and B = (I - Q)^-1 R, from what was counted so far."""
    if moves.tally[FRESH] == 0:
        return
    moves.tally[FRESH] = 0.0
    lower, seen, term = np.empty((STATES, STATES)), np.empty(STATES), np.empty(STATES)
    for x in range(STATES):
        seen[x] = 1.0
        for y in range(STATES):
            seen[x] += moves.stay[x, y] + moves.move[x, y]
        for y in range(STATES):
            lower[x, y] = (1.0 if x == y else 0.0) - moves.stay[x, y] / seen[x]
        term[x] = moves.size[x] / seen[x]
    _factor(lower)
    _substitute(lower, term)
    for x in range(STATES):
        moves.expected[x] = term[x]
    for _ in range(MOVES - 1):
        _follow(moves.move, seen, term)
        _substitute(lower, term)
        for x in range(STATES):
            moves.expected[x] += term[x]


@inner
def _follow(move: Reals, seen: Reals, term: Reals) -> None:
    """term = R term."""
    after = np.zeros(STATES)
    for x in range(STATES):
        for y in range(STATES):
            after[x] += move[x, y] * term[y]
    for x in range(STATES):
        term[x] = after[x] / seen[x]


@inner
def _factor(a: Reals) -> None:
    """LU in place; rows of I - Q sum to more than 0, so no pivot can vanish."""
    for k in range(STATES):
        for x in range(k + 1, STATES):
            a[x, k] /= a[k, k]
            for y in range(k + 1, STATES):
                a[x, y] -= a[x, k] * a[k, y]


@inner
def _substitute(a: Reals, b: Reals) -> None:
    """b = A^-1 b with the factors of A."""
    for x in range(STATES):
        for y in range(x):
            b[x] -= a[x, y] * b[y]
    for x in range(STATES - 1, -1, -1):
        for y in range(x + 1, STATES):
            b[x] -= a[x, y] * b[y]
        b[x] /= a[x, x]
