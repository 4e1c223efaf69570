"""One decision, explained from the journal alone (invariant 11).

Called by the command line and the page. It reads verified records and adds nothing to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptoai.core.errors import DataError
from cryptoai.core.journal import read_journal
from cryptoai.execution import kinds

__all__ = ["explain"]


def explain(path: Path, decision: int) -> dict[str, Any]:
    """Start, decision, verdict, order, updates and fills of decision number `decision`; DataError if there is none."""
    found: dict[str, Any] = {
        "start": None,
        "decision": None,
        "verdict": None,
        "order": None,
        "updates": [],
        "fills": [],
    }
    order_id = None
    for record in read_journal(path):
        if record.kind == kinds.START and found["decision"] is None:
            found["start"] = record.body
        elif record.kind in (kinds.DECISION, kinds.VERDICT, kinds.ORDER) and record.body["decision"] == decision:
            found[record.kind] = record.body
            order_id = record.body.get("client_order_id", order_id)
        elif record.kind in (kinds.UPDATE, kinds.FILL) and record.body["client_order_id"] == order_id:
            found[record.kind + "s"].append(record.body)
    if found["decision"] is None:
        raise DataError(f"{path.name} has no decision {decision}")
    return found
