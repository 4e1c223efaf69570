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


def halt(raw_spec: Any, before: Mapping[str, Any] | None, report: BotReport | None) -> tuple[bool, Finding]:
    """(halted, finding) from the spec, the condition Halted as it was, and what the bot says."""
    switch = raw_spec.get("killSwitch") if isinstance(raw_spec, Mapping) else None
    switch = switch if isinstance(switch, Mapping) else {}
    why, by = switch.get("reason"), switch.get("releasedBy")
    if switch.get("engaged") is True:
        said = " The bot confirms: no new order." if report and report.killed else ""
        return True, Finding(Reason.KILL_SWITCH_ENGAGED, f"Engaged: {why or 'no reason given'}.{said}")
    was = before["reason"] if before and before["status"] == "True" else None
    if was in _BY_SWITCH and not (why and by):
        text = "killSwitch.engaged is false, but it is latched: give killSwitch.releasedBy and killSwitch.reason too."
        return True, Finding(Reason.RELEASE_NOT_NAMED, text)
    if (report and report.killed) or (report is None and was == Reason.BOT_HALTED):
        text = (
            "The bot has halted itself; its journal says why. Release it: killSwitch.releasedBy and killSwitch.reason."
        )
        return True, Finding(Reason.BOT_HALTED, text)
    if by:
        return False, Finding(Reason.RELEASED, f"Released by {by}.")
    return False, Finding(Reason.NOT_ENGAGED, "The kill switch is not engaged.")
