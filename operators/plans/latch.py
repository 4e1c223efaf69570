"""Is the bot halted? The latch of the kill switch, as one pure function.

It only reports: the bot obeys its own TradingBot by itself, with the same rule, and needs nobody for it. Read from the
raw spec, because a kill must count even in a spec that is refused for another reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operators.api.reasons import Reason
from operators.plans.model import BotReport, Finding

__all__ = ["halt"]

_BY_SWITCH = (Reason.KILL_SWITCH_ENGAGED, Reason.RELEASE_NOT_NAMED)
_NOT_NAMED = "killSwitch.engaged is false, but it is latched: give killSwitch.releasedBy and killSwitch.reason too."
_HALTED = (
    "The bot is halted by its own latch; its journal says why. A release counts once: write a killSwitch.releasedBy "
    "or killSwitch.reason that was not there before."
)


def halt(raw_spec: Any, before: Mapping[str, Any] | None, report: BotReport | None) -> tuple[bool, Finding]:
    """(halted, finding) from the spec, the condition Halted as it was, and what the bot says.

    A release counts once, and it is the bot that knows whether it did: what the bot reports goes before the words of a
    release, which may be old ones that still stand in the spec.
    """
    switch = _switch(raw_spec)
    why, by = (str(switch.get(key) or "").strip() for key in ("reason", "releasedBy"))
    if switch.get("engaged", False) is not False:
        said = " The bot confirms: no new order." if report and report.killed else ""
        return True, Finding(Reason.KILL_SWITCH_ENGAGED, f"Engaged: {why or 'no reason given'}.{said}")
    was = before["reason"] if before and before["status"] == "True" else None
    if was in _BY_SWITCH and not (why and by):
        return True, Finding(Reason.RELEASE_NOT_NAMED, _NOT_NAMED)
    if (report and report.killed) or (report is None and was == Reason.BOT_HALTED):
        return True, Finding(Reason.BOT_HALTED, _HALTED)
    if by:
        return False, Finding(Reason.RELEASED, f"Released by {by}.")
    return False, Finding(Reason.NOT_ENGAGED, "The kill switch is not engaged.")


def _switch(raw_spec: Any) -> Mapping[str, Any]:
    """spec.killSwitch; what is no mapping is taken for an order to stop, as the bot takes it."""
    switch = raw_spec.get("killSwitch") if isinstance(raw_spec, Mapping) else None
    if switch is None:
        return {}
    return switch if isinstance(switch, Mapping) else {"engaged": True, "reason": "spec.killSwitch cannot be read"}
