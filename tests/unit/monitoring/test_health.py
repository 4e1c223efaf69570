"""The sentence at the top of the page: the worst news wins."""

from __future__ import annotations

from typing import Any

import pytest

from cryptoai.monitoring.health import Source, assess

NOW = 1_000_000_000_000
GOOD = Source("journal.jsonl", True, 10, 10, NOW - 1_000_000_000)
HEAD: dict[str, Any] = {
    "records": 9,
    "kill": None,
    "latest": {"a:B": {"alarm": False}},
    "ended": False,
    "safe_recent": 0,
    "recent": 20,
    "safe_reason": None,
    "equity": {"drawdown": -0.001, "change": -0.00046},
    "counters": {"decisions": 1234},
}
KILL = {"kill": {"reason": "drawdown 11 %.", "by": "risk", "t": 0}}


@pytest.mark.parametrize(
    ("change", "source", "level", "said"),
    [
        ({}, GOOD, "ok", "All is well: 1,234 decisions, the model answered, equity −0.046% after costs."),
        ({"counters": {}}, GOOD, "ok", "has not decided yet"),
        (KILL, GOOD, "critical", "kill switch is engaged (drawdown 11 %)"),
        (KILL, Source("j", True, error="record 3 was changed"), "critical", "record 3 was changed"),
        ({"latest": {"a:B": {"alarm": True}}}, GOOD, "critical", "Black-swan alarm on a:B"),
        ({"safe_recent": 3, "safe_reason": "too late."}, GOOD, "warning", "3 of the last 20 decisions: too late."),
        ({"equity": {"drawdown": -0.07, "change": 0.0}}, GOOD, "warning", "7.0% below its peak"),
        ({"ended": True}, Source("j", True, 10, 10, 1), "ended", "The run has ended after 1,234 decisions"),
        ({}, Source("j", True, 10, 10, NOW - 60_000_000_000), "warning", "nothing for 60 seconds"),
        ({}, Source("j", True, 10, 10, NOW - 600_000_000_000), "warning", "nothing for 10 minutes"),
        ({"records": 0}, GOOD, "waiting", "still empty"),
        ({"records": 0}, Source("run.jsonl"), "waiting", "run.jsonl appears here"),
        ({}, Source("j", True, 3_000_000, 6_000_000, NOW), "waiting", "50% of it"),
    ],
)
def test_the_sentence(change: dict[str, Any], source: Source, level: str, said: str) -> None:
    """One level, one sentence that names the cause."""
    health = assess(HEAD | change, source, NOW)
    assert health.level == level
    assert said in health.sentence
