"""One sentence at the top of the page: all is well, or what is wrong. The worst news wins.

Called by the dashboard with the view's head, what the follower knows of the file, and the time. Pure, so
that each sentence is tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Health", "Source", "assess"]

Level = Literal["ok", "waiting", "ended", "warning", "critical"]
STALE_S = 15.0


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of the journal's file: bytes read of how many, when it grew (ns UTC), what is wrong with it."""

    name: str
    exists: bool = False
    offset: int = 0
    size: int = 0
    changed_ns: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    level: Level
    sentence: str

    def body(self) -> dict[str, str]:
        return {"level": self.level, "sentence": self.sentence}


def assess(head: Mapping[str, Any], source: Source, now_ns: int) -> Health:
    """The most important thing to say at `now_ns`."""
    for rule in (_file, _kill, _alarm, _stale, _silent_model, _drawdown):
        found = rule(head, source, now_ns)
        if found is not None:
            return found
    return _fine(head)


def _file(head: Mapping[str, Any], source: Source, _now: int) -> Health | None:
    if source.error:
        return Health("critical", f"The journal cannot be trusted: {source.error}")
    if not source.exists:
        return Health("waiting", f"No journal yet: {source.name} appears here when a bot starts.")
    if not head["records"]:
        return Health("waiting", "The journal is still empty: the bot has not started to decide.")
    if source.size - source.offset > 1_000_000:
        return Health("waiting", f"Reading the journal: {source.offset / max(source.size, 1):.0%} of it so far.")
    return None


def _kill(head: Mapping[str, Any], _source: Source, _now: int) -> Health | None:
    if head["kill"] is None:
        return None
    reason = head["kill"]["reason"] or "no reason was recorded"
    return Health("critical", f"The kill switch is engaged ({reason.rstrip('.')}): only reducing orders pass.")


def _alarm(head: Mapping[str, Any], _source: Source, _now: int) -> Health | None:
    alarmed = [name for name, said in head["latest"].items() if said["alarm"]]
    if not alarmed or head["ended"]:
        return None
    return Health("critical", f"Black-swan alarm on {', '.join(sorted(alarmed))}: no new exposure is taken.")


def _stale(head: Mapping[str, Any], source: Source, now_ns: int) -> Health | None:
    age = (now_ns - source.changed_ns) / 1e9
    if head["ended"]:
        return Health("ended", f"The run has ended after {_decisions(head)}; {_money(head)}.")
    if age > STALE_S:
        return Health("warning", f"The bot has written nothing for {_span(age)}; it may have stopped.")
    return None


def _silent_model(head: Mapping[str, Any], _source: Source, _now: int) -> Health | None:
    if not head["safe_recent"]:
        return None
    share = f"{head['safe_recent']} of the last {head['recent']} decisions"
    return Health("warning", f"The safe action was taken in {share}: {(head['safe_reason'] or '').rstrip('.')}.")


def _drawdown(head: Mapping[str, Any], _source: Source, _now: int) -> Health | None:
    drawdown = head["equity"].get("drawdown", 0.0)
    if drawdown > -0.05:
        return None
    return Health("warning", f"Equity is {-drawdown:.1%} below its peak.")


def _fine(head: Mapping[str, Any]) -> Health:
    if not head["counters"].get("decisions"):
        return Health("ok", "The bot has started and has not decided yet.")
    return Health("ok", f"All is well: {_decisions(head)}, the model answered, {_money(head)}.")


def _decisions(head: Mapping[str, Any]) -> str:
    count = head["counters"].get("decisions", 0)
    return f"{count:,} decision{'' if count == 1 else 's'}"


def _money(head: Mapping[str, Any]) -> str:
    change = head["equity"].get("change", 0.0)
    return f"equity {change:+.3%} after costs".replace("-", "−")


def _span(seconds: float) -> str:
    for unit, size in (("days", 172_800.0), ("hours", 7_200.0), ("minutes", 120.0)):
        if seconds >= size:
            per = {"days": 86_400.0, "hours": 3_600.0, "minutes": 60.0}[unit]
            return f"{seconds / per:.0f} {unit}"
    return f"{seconds:.0f} seconds"
