"""`cryptoai backtest --check-lookahead`: did anything in the replay know the future?

Replays the unseen window again on tapes cut short and compares. With `--plant-leak` one feature is made to show the
price of five seconds later first: the check must then find it, or the command fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cryptoai.backtesting.leak import Planted
from cryptoai.backtesting.lookahead import Leak, check_lookahead
from cryptoai.backtesting.run import Replay
from cryptoai.cli.console import out, progress
from cryptoai.cli.models import open_model
from cryptoai.cli.tapes import load_feeds, windows
from cryptoai.core.config import Config
from cryptoai.core.errors import InvariantError

__all__ = ["run_check"]

FOUND = 1
"""Exit code if something knew the future."""


def run_check(config: Config, assets: Sequence[str], model: str | None, *, cuts: int, plant: bool) -> int:
    """0 if the replay is clean (or the planted leak was found), 1 with every leak named if it is not."""
    feeds = load_feeds(config, assets)
    opened, revision = open_model(model, config)
    replay = Replay(config, feeds, windows(config, feeds).test, opened, revision)
    if plant:
        replay = replace(replay, through=Planted.within(feeds))
    with progress("replays on tapes cut short") as advance:
        leaks = check_lookahead(replay, cuts=cuts, on_cut=lambda done, whole: advance(done, whole, ""))
    return _planted(leaks, cuts) if plant else _verdict(leaks, cuts)


def _verdict(leaks: Sequence[Leak], cuts: int) -> int:
    for leak in leaks:
        out.print(f"[red]leak[/]: {leak}")
    if leaks:
        out.print(f"{len(leaks)} of {cuts} cuts changed what came before them: results rest on the future")
        return FOUND
    out.print(f"clean: no state, decision, verdict, order or fill changed on {cuts} tapes cut short")
    return 0


def _planted(leaks: Sequence[Leak], cuts: int) -> int:
    """The check checked: InvariantError if it missed the leak."""
    named = [leak for leak in leaks if leak.features == (Planted.FEATURE,)]
    if not named:
        raise InvariantError(f"a leak planted in {Planted.FEATURE} was not found on {cuts} cuts")
    out.print(f"the planted leak was found: {named[0]}")
    return 0
