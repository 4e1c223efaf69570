"""What happens after the kill switch: a latched machine that ends with everything closed and a person asked.

    RUNNING -> CANCELLING -> FLATTENING -> VERIFYING -> HALTED, and from anywhere back to RUNNING by a person's release

The kernel tells it what it sees and does what the stage says; the machine only says what comes next. `TABLE` is all of
it: an event without a row changes nothing. An error has no event at all, so that whatever cannot be done or known keeps
the stage and is tried again; nothing but `RELEASED` leads to RUNNING. Pure; it must never send or ask anything itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from cryptoai.risk_engine.kill_switch import KillAction

__all__ = ["TABLE", "Emergency", "Event", "Stage", "diagram"]


class Stage(StrEnum):
    """RUNNING trades. CANCELLING asks the venue to cancel every open order. FLATTENING sends reducing orders until
    nothing is held. VERIFYING asks the venue for its orders and positions. HALTED waits for a person."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    FLATTENING = "flattening"
    VERIFYING = "verifying"
    HALTED = "halted"


class Event(StrEnum):
    """ENGAGED: the switch is set. ASKED: every open order was asked to be cancelled, and positions must go. CLEAR: by
    our books nothing is left to do. CONFIRMED: the venue says the same. LEFT: an order is open or a position to be
    closed after all. RELEASED: by a named person."""

    ENGAGED = "engaged"
    ASKED = "asked"
    CLEAR = "clear"
    CONFIRMED = "confirmed"
    LEFT = "left"
    RELEASED = "released"


S, E = Stage, Event
TABLE: Mapping[tuple[Stage, Event], Stage] = MappingProxyType(
    {
        (S.RUNNING, E.ENGAGED): S.CANCELLING,
        (S.CANCELLING, E.ASKED): S.FLATTENING,
        (S.CANCELLING, E.CLEAR): S.VERIFYING,
        (S.FLATTENING, E.CLEAR): S.VERIFYING,
        (S.VERIFYING, E.CONFIRMED): S.HALTED,
        (S.VERIFYING, E.LEFT): S.CANCELLING,
        (S.HALTED, E.LEFT): S.CANCELLING,
        (S.CANCELLING, E.RELEASED): S.RUNNING,
        (S.FLATTENING, E.RELEASED): S.RUNNING,
        (S.VERIFYING, E.RELEASED): S.RUNNING,
        (S.HALTED, E.RELEASED): S.RUNNING,
    }
)
"""With the action `cancel` positions are kept: FLATTENING is left out, because ASKED never comes."""


class Emergency(NamedTuple):
    """Where the machine stands; `action` is the strictest that was asked for since it left RUNNING."""

    stage: Stage = Stage.RUNNING
    action: KillAction = KillAction.FLATTEN

    @property
    def active(self) -> bool:
        return self.stage is not Stage.RUNNING

    @property
    def flattens(self) -> bool:
        """Whether positions must go."""
        return self.active and self.action is KillAction.FLATTEN

    @property
    def keeps(self) -> bool:
        """Whether positions are kept and may only shrink."""
        return self.active and self.action is KillAction.CANCEL

    def after(self, event: Event, action: KillAction = KillAction.FLATTEN) -> Emergency:
        """The next state; `action` is read with ENGAGED only, and never weakens one that is in force."""
        stage = TABLE.get((self.stage, event), self.stage)
        if event is not Event.ENGAGED:
            return Emergency(stage, self.action)
        kept = action is KillAction.CANCEL and not self.flattens
        return Emergency(stage, KillAction.CANCEL if kept else KillAction.FLATTEN)


def diagram() -> str:
    """The table as a mermaid state diagram."""
    rows = (f"    {was} --> {now}: {event}" for (was, event), now in TABLE.items())
    return "\n".join(["stateDiagram-v2", f"    [*] --> {Stage.RUNNING}", *rows])
