"""What a human should know, written to the journal once per episode.

The kernel owns one `Alerts` and tells it every verdict. An episode is announced when it begins, stays silent while it
lasts and may be announced again after it ended. It must never influence a decision.
"""

from __future__ import annotations

from cryptoai.core.clock import SECOND
from cryptoai.core.config import RiskConfig
from cryptoai.core.messages import Alert, Quote, Severity, Verdict
from cryptoai.core.money import Quantity
from cryptoai.execution import kinds
from cryptoai.execution.ports import JournalSink
from cryptoai.execution.proposing import Thought
from cryptoai.execution.surroundings import STOP_LOSS
from cryptoai.risk_engine.judge import DENIED

__all__ = ["Alerts", "line", "plain"]


class Alerts:
    """Of one bot; they are forgotten at a restart, so that what still lasts is told again."""

    def __init__(self, journal: JournalSink) -> None:
        self._journal = journal
        self._episodes: set[str] = set()

    def tell(self, now: int, severity: Severity, name: str, message: str) -> None:
        """One alert, whatever was told before."""
        alert = Alert(time=now, severity=severity, name=name, message=message)
        self._journal.append(kinds.ALERT, now, alert.body())

    def episode(self, now: int, key: str, active: bool, severity: Severity, message: str) -> None:
        """An alert when something begins; `key` is the alert's name, and after a space what it is about."""
        if active and key not in self._episodes:
            self.tell(now, severity, key.split(" ", 1)[0], message)
            self._episodes.add(key)
        elif not active:
            self._episodes.discard(key)

    def judged(
        self, now: int, quote: Quote | None, thought: Thought, verdict: Verdict, risk: RiskConfig, *, closing: bool
    ) -> None:
        """What a judgement shows: old data, no model, a denial, a stop loss. `closing`: the model was not asked."""
        name = verdict.instrument
        stale = quote is None or now - quote.known_at > risk.max_data_age_s * SECOND
        since = f"since {quote.known_at}" if quote is not None else "since the start"
        self.episode(now, f"stale_data {name}", stale, Severity.WARNING, f"no new quote of {name} {since}")
        unavailable = thought.safe is not None and not closing and quote is not None
        self.episode(now, f"model_unavailable {name}", unavailable, Severity.WARNING, f"safe action: {thought.safe}")
        bounds = {bound.limit: bound for bound in verdict.bounds}
        denied = bounds[DENIED].allowed if DENIED in bounds else ""
        self.episode(now, f"risk_denial {name}", bool(denied), Severity.WARNING, f"{name}: {denied}")
        stop = bounds.get(STOP_LOSS) if verdict.current else None
        lost = f"{name} lost {stop.wanted} of its entry, {stop.allowed} is allowed" if stop is not None else ""
        self.episode(now, f"{STOP_LOSS} {name}", bool(lost), Severity.WARNING, lost)


def line(error: Exception) -> str:
    """The first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def plain(gaps: dict[str, Quantity]) -> str:
    """Quantities by instrument, for a reader."""
    return ", ".join(f"{gap} {name}" for name, gap in gaps.items())
