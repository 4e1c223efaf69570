"""The kill switch: latched, remembered, released by people, and engaged when in doubt."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryptoai.core.errors import DataError
from cryptoai.risk_engine.kill_switch import KillAction, KillSwitch


def test_it_latches(tmp_path: Path) -> None:
    """The first reason stays, and survives a restart."""
    path = tmp_path / "var" / "kill.json"
    switch = KillSwitch(path)
    assert not switch.engaged
    switch.engage("drawdown", "risk engine", 5)
    switch.engage("something else", "someone", 6)
    again = KillSwitch(path)
    assert again.engaged
    assert (again.state.reason, again.state.by, again.state.time) == ("drawdown", "risk engine", 5)
    assert [p.name for p in path.parent.iterdir()] == ["kill.json"]


def test_a_person_releases_it(tmp_path: Path) -> None:
    """A release needs a name and a reason, and is remembered too."""
    path = tmp_path / "kill.json"
    switch = KillSwitch(path)
    switch.engage("x", "y", 1)
    for reason, by in (("", "Ada"), ("checked", " ")):
        with pytest.raises(DataError, match="by a person"):
            switch.release(reason, by, 2)
    assert switch.engaged
    switch.release("checked", "Ada", 2)
    assert not KillSwitch(path).engaged


def test_another_process_is_heard(tmp_path: Path) -> None:
    """What the command line writes, a running bot sees at its next refresh."""
    path = tmp_path / "kill.json"
    bot, person = KillSwitch(path), KillSwitch(path)
    person.engage("stop", "Ada", 3)
    assert not bot.engaged
    assert bot.refresh().reason == "stop"
    person.release("done", "Ada", 4)
    assert not bot.refresh().engaged


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"engaged": "perhaps"}', b'{"engaged": false, "x": 1}'])
def test_unreadable_means_engaged(tmp_path: Path, content: bytes) -> None:
    """A damaged file engages, at start and while running, until a person releases it."""
    path = tmp_path / "kill.json"
    switch = KillSwitch(path)
    path.write_bytes(content)
    assert switch.refresh().engaged
    assert KillSwitch(path).engaged
    switch.release("repaired", "Ada", 9)
    assert not switch.refresh().engaged


def test_vanished_means_engaged(tmp_path: Path) -> None:
    """A file that was there and is gone engages."""
    path = tmp_path / "kill.json"
    switch = KillSwitch(path)
    path.unlink()
    assert switch.refresh().engaged


def test_it_is_engaged_even_if_it_cannot_be_saved(tmp_path: Path) -> None:
    """The error is told, but the latch holds in memory."""
    path = tmp_path / "a" / "kill.json"
    switch = KillSwitch(path)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("a file where the folder was")
    with pytest.raises(DataError, match="kill switch"):
        switch.engage("drawdown", "risk engine", 1)
    assert switch.engaged


def test_without_a_file_it_lives_in_memory() -> None:
    """A backtest needs no file."""
    switch = KillSwitch()
    switch.engage("x", "y", 1)
    assert switch.refresh().engaged


def test_an_old_file_flattens(tmp_path: Path) -> None:
    """A file from before there were actions is engaged with the strictest one."""
    path = tmp_path / "kill.json"
    path.write_text('{"engaged":true,"reason":"x","by":"y","time":1}')
    assert KillSwitch(path).state.action is KillAction.FLATTEN


def test_the_action_may_only_become_stricter(tmp_path: Path) -> None:
    """From cancel to flatten, on disk too; never back, and the first reason stays."""
    path = tmp_path / "kill.json"
    switch = KillSwitch(path)
    switch.engage("look", "Ada", 1, KillAction.CANCEL)
    switch.engage("drawdown", "risk engine", 2)
    switch.engage("look", "Ada", 3, KillAction.CANCEL)
    state = KillSwitch(path).state
    assert (state.action, state.reason, state.by) == (KillAction.FLATTEN, "look", "Ada")
