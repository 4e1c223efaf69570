"""Many ways to cut one history into training and test, none of which lets a label reach into a test.

Walk-forward evaluation and the overfitting estimates call it. Purging drops training rows whose label would end inside
or after a test window, the embargo keeps a distance behind it (López de Prado 2018, chapters 7 and 12). It must never
return a fold that breaks this: `Fold` checks itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

from cryptoai.backtesting.windows import Window
from cryptoai.core.errors import DataError, InvariantError

__all__ = ["Fold", "combinatorial", "walk_forward"]


@dataclass(frozen=True, slots=True)
class Fold:
    """`train` windows hold rows together with their labels, each `label_ns` long; all times ns UTC, ends inclusive.

    A training row at t may be used if [t, t + label_ns] lies within one training window.
    """

    train: tuple[Window, ...]
    test: tuple[Window, ...]
    label_ns: int
    embargo_ns: int

    def __post_init__(self) -> None:
        for learn in self.train:
            for judge in self.test:
                before = learn.stop + self.embargo_ns < judge.start
                after = learn.start > judge.stop + self.embargo_ns
                if not (before or after):
                    raise InvariantError(
                        f"training [{learn.start}, {learn.stop}] is less than the embargo of {self.embargo_ns} ns"
                        f" away from the test [{judge.start}, {judge.stop}]"
                    )


def walk_forward(
    span: Window, folds: int, *, train_share: float, label_ns: int, embargo_ns: int, rolling: bool = False
) -> tuple[Fold, ...]:
    """`folds` tests of equal length that follow each other to the end of `span`, each trained on what came before.

    The first training window is `train_share` of the span; later ones grow, or with `rolling` keep its length.
    """
    if folds < 1 or not 0 < train_share < 1:
        raise DataError(f"walk-forward needs at least one fold and a train_share in (0, 1), not {folds}, {train_share}")
    first = span.start + int((span.stop - span.start) * train_share)
    length = (span.stop - first) // folds
    if length <= embargo_ns + 1 or first - span.start <= label_ns:
        raise DataError(
            f"a history of {span.seconds:.0f} s is too short for {folds} folds with an embargo of"
            f" {embargo_ns / 1e9:g} s and labels of {label_ns / 1e9:g} s; use fewer folds or a longer tape"
        )
    made = []
    for number in range(folds):
        cut = first + number * length
        start = span.start + number * length if rolling else span.start
        stop = cut + length if number + 1 < folds else span.stop
        test = Window(cut + embargo_ns + 1, stop)
        made.append(Fold((Window(start, cut),), (test,), label_ns, embargo_ns))
    return tuple(made)


def combinatorial(span: Window, groups: int, tests: int, *, label_ns: int, embargo_ns: int) -> tuple[Fold, ...]:
    """Every choice of `tests` of `groups` equal parts as the test, the rest purged and embargoed as training (CPCV).

    C(groups, tests) folds, from which tests/groups of that number whole paths can be joined.
    """
    if not 1 <= tests < groups:
        raise DataError(f"combinatorial folds need 1 <= tests < groups, not {tests} of {groups}")
    edges = [span.start + (span.stop - span.start) * i // groups for i in range(groups)] + [span.stop + 1]
    parts = [Window(a, b - 1) for a, b in pairwise(edges)]
    if parts[0].stop - parts[0].start <= 2 * embargo_ns + label_ns:
        raise DataError(f"parts of {parts[0].seconds:.1f} s are too short for this embargo; use fewer groups")
    return tuple(_fold(parts, set(chosen), label_ns, embargo_ns) for chosen in combinations(range(groups), tests))


def _fold(parts: list[Window], chosen: set[int], label_ns: int, embargo_ns: int) -> Fold:
    train = []
    for number, part in enumerate(parts):
        if number in chosen:
            continue
        start = part.start + (embargo_ns + 1 if number - 1 in chosen else 0)
        stop = part.stop - (embargo_ns + 1 if number + 1 in chosen else 0)
        train.append(Window(start, stop))
    return Fold(_merged(train), tuple(parts[i] for i in sorted(chosen)), label_ns, embargo_ns)


def _merged(windows: list[Window]) -> tuple[Window, ...]:
    """Neighbours joined, so that no label is lost between two parts that are both trained on."""
    joined = [windows[0]]
    for window in windows[1:]:
        if window.start == joined[-1].stop + 1:
            joined[-1] = Window(joined[-1].start, window.stop)
        else:
            joined.append(window)
    return tuple(joined)
