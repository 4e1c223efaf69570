"""The status from findings, and the Events that a change of it is worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from operators.api.reasons import ConditionType
from operators.plans.model import Finding, Notice

__all__ = ["condition_of", "conditions", "notices", "phase"]

Obj = dict[str, Any]
Verdict = tuple[ConditionType, bool | str, Finding]


def condition_of(status: Mapping[str, Any], kind: str) -> Obj | None:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), None)


def conditions(before: Mapping[str, Any], verdicts: Iterable[Verdict], generation: int, now: str) -> list[Obj]:
    """The list to be; a condition whose status did not change keeps the time of its last transition."""
    made = []
    for kind, value, finding in verdicts:
        word = value if isinstance(value, str) else str(value)
        old = condition_of(before, kind)
        since = old["lastTransitionTime"] if old and old["status"] == word else now
        made.append(
            {
                "type": str(kind),
                "status": word,
                "reason": str(finding.reason),
                "message": finding.message,
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return made


def phase(made: list[Obj], *, suspended: bool) -> str:
    """The conditions in one word."""
    true = {c["type"] for c in made if c["status"] == "True"}
    if ConditionType.HALTED in true:
        return "Halted"
    if ConditionType.DEGRADED in true:
        return "Degraded"
    if suspended:
        return "Suspended"
    return "Running" if ConditionType.READY in true else "Pending"


_BAD_WHEN_TRUE = (ConditionType.HALTED, ConditionType.DEGRADED)


def notices(before: Mapping[str, Any], made: list[Obj]) -> list[Notice]:
    """One Event a condition whose word changed; the first sight of something unremarkable is none."""
    found = []
    for new in made:
        old = condition_of(before, new["type"])
        changed = old is None or (old["status"], old["reason"]) != (new["status"], new["reason"])
        bad_type = new["type"] in _BAD_WHEN_TRUE
        if changed and (old is not None or new["status"] == "True"):
            found.append(
                Notice(new["reason"], f"{new['type']}: {new['message']}", bad_type and new["status"] == "True")
            )
    return found
