"""docs/risk.md is made from the code and leaves nothing out."""

from __future__ import annotations

from pathlib import Path

from cryptoai.core.config import RiskConfig
from cryptoai.risk_engine.emergency import diagram
from cryptoai.risk_engine.limits import LIMITS
from cryptoai.risk_engine.risk_docs import LINES, render

PAGE = Path(__file__).resolve().parents[3] / "docs" / "risk.md"


def test_the_page_is_what_the_code_says() -> None:
    """Run `python scripts/generate.py` after a change."""
    assert PAGE.read_text() == render()
    assert diagram() in render()


def test_every_limit_and_every_key_has_a_line() -> None:
    """A limit that is added, or a key that is, cannot be left out."""
    assert {name for name, _ in LIMITS} <= set(LINES)
    assert {key for line in LINES.values() for key in line.keys} == set(RiskConfig.model_fields)
