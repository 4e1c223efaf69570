"""One decision as a line that a person can read: what was wanted, what was allowed, and why.

Made by `journal_view` from a decision record and the verdict that follows it. The sentence is built from the verdict's
own bounds, so it says what the judge did and never guesses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

__all__ = ["DecisionRow", "horizon_seconds"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_VERBS = {"buy": "Buys", "sell": "Sells"}


def horizon_seconds(name: str) -> float:
    """'5s' -> 5.0; a name without a known unit sorts last."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]+)", name)
    return float(match[1]) * _UNITS.get(match[2], float("inf")) if match else float("inf")


@dataclass
class DecisionRow:
    """A decision and, once the judge has spoken, its verdict. Amounts are the journal's digits."""

    decision: int
    t: float
    instrument: str
    state_hash: str
    wanted: str | None
    safe: str | None
    mean_bps: float | None
    sd_bps: float | None
    horizon: str | None
    verdict: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, time: int, body: Mapping[str, Any]) -> DecisionRow:
        said = body.get("inference") or {"return_bps": {}, "return_sd_bps": {}}
        horizon = min(said["return_bps"], key=horizon_seconds, default=None)
        wanted = (body.get("proposal") or {}).get("exposure")
        mean, spread = said["return_bps"].get(horizon), said["return_sd_bps"].get(horizon)
        head = (body["decision"], time / 1e9, body["instrument"], body.get("state_hash") or "")
        return cls(*head, None if wanted is None else str(wanted), body.get("safe"), mean, spread, horizon)

    @property
    def key(self) -> tuple[int, str]:
        return self.decision, self.instrument

    def judged(self, verdict: Mapping[str, Any]) -> None:
        names = ("current", "proposed", "approved", "bounds", "order")
        self.verdict = {name: verdict.get(name) for name in names}

    def body(self) -> dict[str, Any]:
        """JSON-ready, with `reason` as one or two sentences."""
        own = ("decision", "t", "instrument", "state_hash", "wanted", "safe", "mean_bps", "sd_bps", "horizon")
        return {**{name: getattr(self, name) for name in own}, **self.verdict, "reason": self.reason()}

    def reason(self) -> str:
        parts = []
        if self.safe is not None:
            parts.append(f"Safe action: {self.safe.rstrip('.')}.")
        parts += [_bound(bound) for bound in self.verdict.get("bounds") or ()]
        if self.verdict:
            parts.append(self._outcome())
        return " ".join(parts) or "The judge has not spoken yet."

    def _outcome(self) -> str:
        order = self.verdict["order"]
        if order is not None:
            price = f" at {order['price']}" if order.get("price") else " at the market"
            return f"{_VERBS.get(order['side'], order['side'])} {order['quantity']}{price}."
        held = Decimal(self.verdict["approved"]) == Decimal(self.verdict["current"])
        return f"Holds {self.verdict['current']}: nothing to send." if held else "Nothing was sent."


def _bound(bound: Mapping[str, Any]) -> str:
    return f"{bound['limit']} allowed {bound['allowed']} of {bound['wanted']}."
