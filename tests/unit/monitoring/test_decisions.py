"""The sentence beside a decision says what the judge did."""

from __future__ import annotations

from typing import Any

import pytest

from cryptoai.monitoring.decisions import DecisionRow, horizon_seconds

ORDER = {"side": "sell", "quantity": "0.033", "price": "61754.6"}
BOUND = {"limit": "max_position_pct", "wanted": "0.2", "allowed": "0.1"}


def row(*, safe: str | None = None, **verdict: Any) -> DecisionRow:
    body = {"decision": 1, "instrument": "a:B", "state_hash": "s", "proposal": {"exposure": "0.5"}, "safe": safe}
    made = DecisionRow.of(5_000_000_000, body | {"inference": None})
    if verdict:
        made.judged({"current": "0.1", "proposed": "0.2", "approved": "0.1", "bounds": [], "order": None} | verdict)
    return made


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (row(), "The judge has not spoken yet."),
        (row(order=ORDER), "Sells 0.033 at 61754.6."),
        (row(order=ORDER | {"price": None, "side": "buy"}), "Buys 0.033 at the market."),
        (row(bounds=[BOUND]), "max_position_pct allowed 0.1 of 0.2. Holds 0.1: nothing to send."),
        (row(approved="0.2"), "Nothing was sent."),
        (row(approved="0.10"), "Holds 0.1: nothing to send."),
        (row(safe="no answer.", approved="0"), "Safe action: no answer. Nothing was sent."),
    ],
)
def test_the_reason_is_a_sentence(made: DecisionRow, said: str) -> None:
    """From the verdict's own words."""
    assert made.reason() == said


def test_horizons_are_ordered_by_length() -> None:
    """Not by spelling; an unknown unit comes last."""
    assert sorted(["10s", "1m", "500ms", "2s", "later"], key=horizon_seconds) == ["500ms", "2s", "10s", "1m", "later"]
