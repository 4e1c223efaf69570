"""The flags of `cryptoai backtest`: as the documentation writes them, and what they ask for."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from cryptoai.cli import app

PAGE = Path(__file__).resolve().parents[3] / "docs" / "backtesting.md"
LINES = re.findall(r"^cryptoai (backtest[^#\n]*)", PAGE.read_text(), re.MULTILINE)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command was called with instead of running."""
    calls: list[Any] = []

    def note(config: Any, assets: Any, model: Any, folder: Any, extras: Any) -> int:
        calls.append(extras)
        return 0

    monkeypatch.setattr(importlib.import_module("cryptoai.cli.backtest"), "backtest", note)
    return calls


@pytest.mark.parametrize("line", LINES)
def test_every_line_of_the_page_is_a_command(line: str, asked: list[Any]) -> None:
    """It parses, and reaches the command."""
    typer.main.get_command(app).main(shlex.split(line), standalone_mode=False)
    assert len(asked) == 1


def test_flags_become_what_is_asked_for(asked: list[Any]) -> None:
    """All at once."""
    line = (
        "backtest --grid a.b=1,2 --grid c.d=3 --walk-forward 4 --retrain --capacity 1,4 --trials 12"
        " --check-lookahead --plant-leak --workers 2"
    )
    typer.main.get_command(app).main(line.split(), standalone_mode=False)
    (found,) = asked
    assert (found.grid, found.walk_forward, found.retrain) == (("a.b=1,2", "c.d=3"), 4, True)
    assert (found.capacity, found.trials, found.workers) == ((1.0, 4.0), 12, 2)
    assert found.check_lookahead
    assert found.plant_leak


def test_the_page_shows_every_flag() -> None:
    """A new flag comes with an example and a line in the table."""
    command = typer.main.get_command(app).commands["backtest"]  # type: ignore[attr-defined]
    own = {"grid", "walk_forward", "retrain", "capacity", "workers", "trials", "check_lookahead", "plant_leak"}
    flags = {option.opts[0] for option in command.params if option.name in own}
    assert len(flags) == len(own)
    for flag in flags:
        assert f"`{flag}" in PAGE.read_text()
