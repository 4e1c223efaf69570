"""`cryptoai verify learning`: the table of gates, one line a figure, on the screen or as JSON lines.

Ends with 1 if a gate was missed. It must never leave out a line because it is a bad one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict

from rich.table import Table

from cryptoai.cli.console import err, out
from cryptoai.core.errors import ConfigError
from cryptoai.testing.gates import PARTS, Check, Gate, checks

__all__ = ["verify_learning"]


def verify_learning(only: str | None, quick: bool, as_json: bool) -> int:
    """Runs the checks; `only` names parts or checks, with commas between them."""
    chosen = _chosen(only, quick)
    gates = []
    for gate, seconds in _run(chosen, quick):
        gates.append(gate)
        if as_json:
            out.print(json.dumps(asdict(gate) | {"seconds": round(seconds, 1)}), markup=False)
    if not as_json:
        out.print(_table(gates))
    missed = [gate for gate in gates if not gate.passed]
    err.print(f"{len(gates) - len(missed)} of {len(gates)} gates passed")
    return 1 if missed else 0


def _chosen(only: str | None, quick: bool) -> list[Check]:
    if only is None:
        return [check for check in checks() if check.quick or not quick]
    wanted = [name.strip() for name in only.split(",")]
    parts = tuple(part for part in PARTS if part in {name.partition(".")[0] for name in wanted})
    chosen = [check for check in checks(parts) if check.name in wanted or check.name.partition(".")[0] in wanted]
    if not chosen:
        raise ConfigError(f"--only {only}: there is no such check; parts are {', '.join(PARTS)}")
    return chosen


def _run(chosen: list[Check], quick: bool) -> Iterator[tuple[Gate, float]]:
    for check in chosen:
        began = time.perf_counter()
        err.print(f"{check.name} ...")
        gates = check.run(quick)
        yield from ((gate, time.perf_counter() - began) for gate in gates)


def _table(gates: list[Gate]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("part", "metric", "ours", "baselines", "oracle", "gate", ""):
        table.add_column(column, justify="right" if column in ("ours", "oracle") else "left")
    for gate in gates:
        others = ", ".join(f"{name} {value:.4g}" for name, value in gate.baselines.items())
        oracle = "" if gate.oracle is None else f"{gate.oracle:.4g}"
        verdict = "[green]pass[/]" if gate.passed else "[red]miss[/]"
        table.add_row(gate.part, gate.metric, f"{gate.ours:.4g}", others, oracle, gate.gate, verdict)
    return table
