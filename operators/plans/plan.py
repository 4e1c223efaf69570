"""plan(observed) -> what to do. Level-triggered: it knows no history but the status, and may be repeated at any time.

Called by the reconciler with live reads, and again after a failed write, to say in the status what failed.
"""

from __future__ import annotations

from typing import Any

from cryptoai.core.clock import iso
from cryptoai.deployment import Platform, Workload
from cryptoai.deployment.settings import revision
from operators.api.reasons import ConditionType, Reason
from operators.api.tradingbot import TradingBotSpec
from operators.plans.children import actions, conflict, desired, prune, workload
from operators.plans.diagnose import bot_state, features_state, model_state
from operators.plans.guard import examine
from operators.plans.latch import Halt, halt
from operators.plans.model import Action, Create, Finding, Notice, Observed, Patch, Plan
from operators.plans.status import Verdict, condition_of, conditions, notices, phase

__all__ = ["REQUEUE_S", "plan"]

Obj = dict[str, Any]

REQUEUE_S = 5.0
_CALM = Finding(Reason.AS_EXPECTED, "Nothing needs mending.")


def plan(observed: Observed, platform: Platform, now: str) -> Plan:
    """`now` is RFC 3339 UTC, for transition times. A bot on its way out needs nothing: its children follow it."""
    if "deletionTimestamp" in observed.bot["metadata"]:
        return Plan()
    raw = observed.bot.get("spec")
    examined, stop = examine(raw), halt(raw, _before(observed), observed.report, observed.glimpse)
    if examined.spec is None:
        assert examined.refusal is not None  # noqa: S101 - one of the two is always there
        return _finish(observed, (), (_refused(observed, examined.refusal, stop), stop), None, now)
    bot = workload(observed.bot, examined.spec)
    wanted = desired(platform, bot)
    todo = (*actions(wanted, observed), *prune(wanted, observed))
    verdicts = _verdicts(examined.spec, observed, conflict(wanted, observed), stop)
    return _finish(observed, todo, (verdicts, stop), (examined.spec, bot), now)


def _refused(observed: Observed, refusal: Finding, stop: Halt) -> list[Verdict]:
    """A spec that cannot be acted on says nothing new about the model and the features: those stay as they were."""
    before = _before(observed)
    unknown = Finding(Reason.NOT_OBSERVED, "Known when the spec is valid.")
    kept: list[Verdict] = []
    for kind in (ConditionType.MODEL_READY, ConditionType.FEATURES_READY):
        old = condition_of(before, kind)
        known = old is not None and old["reason"] in set(Reason)
        finding = Finding(Reason(old["reason"]), old["message"]) if old and known else unknown
        kept.append((kind, old["status"] if old and known else "Unknown", finding))
    return [
        (ConditionType.READY, False, refusal),
        *kept,
        (ConditionType.HALTED, stop.halted, stop.finding),
        (ConditionType.DEGRADED, True, refusal),
    ]


def _verdicts(spec: TradingBotSpec, observed: Observed, taken: Finding | None, stop: Halt) -> list[Verdict]:
    served, model = model_state(spec, observed)
    ready, bot = bot_state(spec, observed)
    known, features = features_state(spec, bot, ready=ready)
    failed = Finding(Reason.APPLY_FAILED, observed.failure, broken=True) if observed.failure else None
    worst = next((f for f in (failed, taken, model, bot) if f and f.broken), None)
    waiting = taken or failed
    return [
        (ConditionType.READY, ready and waiting is None, waiting or bot),
        (ConditionType.MODEL_READY, served, model),
        (ConditionType.FEATURES_READY, known, features),
        (ConditionType.HALTED, stop.halted, stop.finding),
        (ConditionType.DEGRADED, worst is not None, worst or _CALM),
    ]


def _before(observed: Observed) -> Obj:
    return observed.bot.get("status") or {}


def _finish(
    observed: Observed,
    todo: tuple[Action, ...],
    found: tuple[list[Verdict], Halt],
    accepted: tuple[TradingBotSpec, Workload] | None,
    now: str,
) -> Plan:
    before, generation = _before(observed), observed.bot["metadata"]["generation"]
    made = conditions(before, found[0], generation, now)
    suspended = accepted[0].suspend if accepted else before.get("phase") == "Suspended"
    status = {**before, **_facts(observed), "observedGeneration": generation, "conditions": made}
    status |= _latch(before, found[1])
    status["phase"] = phase(made, suspended=suspended)
    if accepted:
        status |= {"mode": accepted[0].mode, "configRevision": revision(accepted[1].settings)}
    settled = status["phase"] in ("Running", "Suspended") or (status["phase"] == "Halted" and accepted is not None)
    return Plan(
        actions=todo,
        status=status if status != before else None,
        notices=(*_action_notices(todo), *notices(before, made)),
        requeue_s=None if settled and not todo else REQUEUE_S,
    )


def _latch(before: Obj, stop: Halt) -> Obj:
    """None in a merge patch takes a key away; a server of 1.20 takes an empty text for null and refuses it."""
    old: Obj | None = before.get("latch")
    if stop.latch is None:
        return {} if old is None else {"latch": None}
    return {"latch": dict.fromkeys(old or {}) | {key: word for key, word in stop.latch.items() if word}}


def _facts(observed: Observed) -> Obj:
    """What the pods said; what was said before stays until they say something else."""
    facts: Obj = {}
    if observed.server and observed.server.revision:
        facts["modelRevision"] = observed.server.revision
    if observed.report and observed.report.decisions:
        facts["lastDecision"] = {"number": observed.report.decisions, "time": iso(observed.report.time_ns)}
    return facts


def _action_notices(todo: tuple[Action, ...]) -> list[Notice]:
    """Why each child was touched, so that every restart of a pod can be explained."""
    return [_action_notice(action) for action in todo]


def _action_notice(action: Action) -> Notice:
    if isinstance(action, Create):
        return Notice("Created", f"{action.obj['kind']} {action.obj['metadata']['name']}")
    word = "Updated" if isinstance(action, Patch) else "Deleted"
    return Notice(word, f"{action.kind} {action.name}: {action.why}")
