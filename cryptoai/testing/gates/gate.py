"""The form of a gate: a figure of ours beside its baselines and its oracle, and whether it is good enough.

Each part keeps its own module of checks here; `cryptoai verify learning` runs them and tests run the quick ones. A
check draws everything from its seed. It must never hide a baseline that won, or a figure that missed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["PARTS", "Check", "Gate", "checks"]

PARTS = ("regime", "forecast", "causality", "tails", "policy", "options", "training", "real")
"""Modules of this package; each has `CHECKS: tuple[Check, ...]`."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One line of the table.

    ours, baselines, oracle: the metric, all measured in the same run; `gate` says in words what is asked of it. `note`
    holds what a reader needs to believe the figure: interval, seeds, sizes.
    """

    part: str
    metric: str
    ours: float
    gate: str
    passed: bool
    baselines: Mapping[str, float] = field(default_factory=dict)
    oracle: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is run as a whole: `run(quick)` returns one gate or more of the part `name` begins with.

    `quick`: whether `--quick` runs it too; then `run(True)` takes less data and says so in its notes.
    """

    name: str
    run: Callable[[bool], Sequence[Gate]]
    quick: bool = True


def checks(parts: Sequence[str] = PARTS) -> tuple[Check, ...]:
    """Every check of these parts, in their order."""
    modules = [importlib.import_module(f"{__package__}.{part}") for part in parts]
    return tuple(check for module in modules for check in module.CHECKS)
