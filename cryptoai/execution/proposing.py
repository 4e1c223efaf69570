"""From what the model said to what is proposed to the judge; from anything else to the safe action.

Pure functions for the kernel. A model's answer counts only if it is for this state schema and from the bundle that the
bot was started with; otherwise the proposal is to hold nothing, patiently (invariant 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from cryptoai.core.config import RiskConfig
from cryptoai.core.messages import SAFE_ACTION, Action, Inference, Proposal
from cryptoai.core.state import StateVector

__all__ = ["Thought", "propose", "refusal"]


@dataclass(frozen=True, slots=True)
class Thought:
    """The state that was seen, what the model said of it, and why the safe action is taken instead (None: it is
    not)."""

    state: StateVector | None
    inference: Inference | None
    safe: str | None

    @property
    def trusted(self) -> Inference | None:
        """The inference, if it may be acted on."""
        return self.inference if self.safe is None else None


def refusal(inference: Inference, state: StateVector, revision: str) -> str | None:
    """Why the answer may not be acted on, or None."""
    if inference.revision != revision:
        return f"the model answered as revision {inference.revision}, the bot runs {revision}"
    if inference.schema_hash != state.schema_hash:
        return f"the model expects state schema {inference.schema_hash}, the state has {state.schema_hash}"
    return None


def propose(
    thought: Thought, decision: int, time: int, instrument: str, revision: str, limits: RiskConfig, *, at_once: bool
) -> Proposal:
    """The wanted share of the risk budget. Leverage -1..1 maps to 1..max_leverage, timing -1..1 to urgency 0..1."""
    action = thought.trusted.action if thought.trusted is not None else SAFE_ACTION
    return Proposal(
        decision=decision,
        time=time,
        instrument=instrument,
        exposure=action.exposure(),
        leverage=_leverage(action, limits),
        urgency=Decimal(1) if at_once else _unit(action.timing),
        state_hash=thought.state.hash() if thought.state is not None else "",
        revision=revision,
    )


def _leverage(action: Action, limits: RiskConfig) -> Decimal:
    return 1 + _unit(action.leverage) * (Decimal(str(limits.max_leverage)) - 1)


def _unit(component: float) -> Decimal:
    """[-1, 1] to [0, 1], to six places, toward zero."""
    return Decimal(int((component + 1.0) * 500_000)).scaleb(-6)
