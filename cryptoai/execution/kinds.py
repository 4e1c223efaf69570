"""The kinds of journal records, so that writers and readers cannot disagree on a word.

Written by the kernel; read by replay, explain, monitoring and the page. A kind's body is fixed: see docs of each
constant.
"""

from __future__ import annotations

__all__ = [
    "ALERT",
    "DECISION",
    "EMERGENCY",
    "END",
    "EQUITY",
    "FILL",
    "FUNDING",
    "KILL",
    "LIQUIDATION",
    "ORDER",
    "RELEASE",
    "START",
    "UPDATE",
    "VERDICT",
]

START = "start"
"""{bot, revision, schema_hash, config_hash, mode, instruments, seed}; one for each start of the process."""
DECISION = "decision"
"""{decision, instrument, state_hash, proposal, inference | null, safe: reason | null}."""
VERDICT = "verdict"
"""Verdict.body()."""
ORDER = "order"
"""OrderRequest.body(); on disk before the order is sent."""
UPDATE = "update"
"""OrderUpdate.body()."""
FILL = "fill"
"""Fill.body()."""
FUNDING = "funding"
"""Funding.body(); a payment for holding a position."""
LIQUIDATION = "liquidation"
"""Liquidation.body(); a position that the venue closed."""
EQUITY = "equity"
"""Equity.body(); after every fill, funding payment and liquidation and at every round of decisions."""
ALERT = "alert"
"""Alert.body()."""
KILL = "kill"
"""{reason, by}."""
RELEASE = "release"
"""{reason, by}."""
EMERGENCY = "emergency"
"""{from, to, event, action}; a transition of the emergency protocol."""
END = "end"
"""{decisions, fills}; a journal without it was cut off."""
