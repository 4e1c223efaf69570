"""Documents that point somewhere, and a changelog that knows the version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import cryptoai

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs/adr").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there."""
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_version_has_one_value() -> None:
    """Package, metadata and changelog agree."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert cryptoai.__version__ == declared
    assert declared in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", DECISIONS, ids=lambda p: p.stem)
def test_decisions_have_one_form(page: Path) -> None:
    """Numbered without a gap, each with status, context, decision and consequences, and listed in the index."""
    text = page.read_text()
    number = DECISIONS.index(page) + 1
    assert page.name.startswith(f"{number:04d}-")
    assert text.startswith(f"# {number}. ")
    assert re.findall(r"^(?:## (\w+)|(Status): accepted\.)$", text, re.MULTILINE) == [
        ("", "Status"),
        ("Context", ""),
        ("Decision", ""),
        ("Consequences", ""),
    ]
    assert page.name in (ROOT / "docs/index.md").read_text()
