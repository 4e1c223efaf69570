"""Is the bot halted? The latch of the kill switch, as one pure function.

It only reports: the bot obeys its own TradingBot by itself, with the same rule, and needs nobody for it. But a bot
whose pod is away sees nothing, so what the operator saw meanwhile is kept in `status.latch`, and the bot reads that
when it starts. Read from the raw spec, because a kill must count even in a spec that is refused for another reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operators.api.reasons import ConditionType, Reason
from operators.plans.model import BotReport, Finding, Glimpse
from operators.plans.status import condition_of

__all__ = ["Halt", "engaged", "halt", "words"]

_BY_SWITCH = (Reason.KILL_SWITCH_ENGAGED, Reason.RELEASE_NOT_NAMED, Reason.SPEC_UNSEEN)
_NOT_NAMED = (
    "killSwitch.engaged is false, but it is latched: give a killSwitch.releasedBy and a killSwitch.reason; the words "
    "that stood there while it was engaged do not count."
)
_UNSEEN = (
    "The spec changed more than once while neither the operator nor the bot looked, so spec.killSwitch may have been "
    "engaged: give a killSwitch.releasedBy and a killSwitch.reason that were not there before."
)
_HALTED = (
    "The bot is halted by its own latch; its journal says why. A release counts once: write a killSwitch.releasedBy "
    "or killSwitch.reason that was not there before."
)


@dataclass(frozen=True)
class Halt:
    """`latch` is what a release must not repeat: `reason` and `releasedBy` as they stood while it was engaged."""

    halted: bool
    finding: Finding
    latch: Mapping[str, str] | None = None


def halt(raw_spec: Any, status: Mapping[str, Any], report: BotReport | None, glimpse: Glimpse) -> Halt:
    """From the spec, the status as it was, what the bot says, and what the watch brought since that status.

    A release counts once, and it is the bot that knows whether it did: what the bot reports goes before the words of a
    release, which may be old ones that still stand in the spec.
    """
    said = words(raw_spec)
    if engaged(raw_spec):
        confirmed = " The bot confirms: no new order." if report and report.killed else ""
        text = f"Engaged: {said['reason'] or 'no reason given'}.{confirmed}"
        return Halt(True, Finding(Reason.KILL_SWITCH_ENGAGED, text), said)
    if held := _held(said, status, report, glimpse):
        return held
    was = _reason(status)
    if (report and report.killed) or (report is None and was == Reason.BOT_HALTED):
        return Halt(True, Finding(Reason.BOT_HALTED, _HALTED))
    if said["releasedBy"]:
        return Halt(False, Finding(Reason.RELEASED, f"Released by {said['releasedBy']}."))
    return Halt(False, Finding(Reason.NOT_ENGAGED, "The kill switch is not engaged."))


def _held(
    said: Mapping[str, str], status: Mapping[str, Any], report: BotReport | None, glimpse: Glimpse
) -> Halt | None:
    """The latch that these words do not release; None if there is none."""
    was = _reason(status)
    latch = glimpse.engaged or status.get("latch") or ({} if was in _BY_SWITCH else None)
    blind = latch is None and glimpse.unseen and report is None
    if blind:
        latch = said
    if latch is None or (all(said.values()) and dict(said) != dict(latch)):
        return None
    if blind or was == Reason.SPEC_UNSEEN:
        return Halt(True, Finding(Reason.SPEC_UNSEEN, _UNSEEN), latch)
    return Halt(True, Finding(Reason.RELEASE_NOT_NAMED, _NOT_NAMED), latch)


def _reason(status: Mapping[str, Any]) -> str | None:
    """Why it was halted, if it was."""
    before = condition_of(status, ConditionType.HALTED)
    return str(before["reason"]) if before and before["status"] == "True" else None


def engaged(raw_spec: Any) -> bool:
    """Anything but a plain false counts."""
    return _switch(raw_spec).get("engaged", False) is not False


def words(raw_spec: Any) -> dict[str, str]:
    """`reason` and `releasedBy` of spec.killSwitch; "" for what is not given."""
    switch = _switch(raw_spec)
    return {key: str(switch.get(key) or "").strip() for key in ("reason", "releasedBy")}


def _switch(raw_spec: Any) -> Mapping[str, Any]:
    """spec.killSwitch; what is no mapping is taken for an order to stop, as the bot takes it."""
    switch = raw_spec.get("killSwitch") if isinstance(raw_spec, Mapping) else None
    if switch is None:
        return {}
    return switch if isinstance(switch, Mapping) else {"engaged": True, "reason": "spec.killSwitch cannot be read"}
