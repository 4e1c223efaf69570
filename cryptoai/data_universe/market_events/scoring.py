"""Items -> numbers: class, severity, sentiment, confidence and the scheduled moment, for each coin that a text names.

`cryptoai data news` stores the result as facts of kind `news_scores` under `news:COIN`, or `news:ALL` for a text that
names no coin we know. Pure; the rules are written down in docs/market-events.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptoai.core.clock import SECOND
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_events.classifier import Classifier, packaged
from cryptoai.data_universe.market_events.coins import tag_assets
from cryptoai.data_universe.market_events.items import Item
from cryptoai.data_universe.market_events.lexicon import HEDGES, NEGATIONS, tone
from cryptoai.data_universe.market_events.taxonomy import CATEGORIES, CATEGORY_NAMES

__all__ = ["EVERYTHING", "Score", "score", "score_facts", "sentiment", "severity"]

EVERYTHING = "ALL"
"""The asset of a text about the whole market."""
_SIZED = frozenset({"hack", "enforcement", "unlock", "insolvency", "market_move", "expiry"})
_AMOUNT = re.compile(
    r"[$€£]\s?(\d[\d,]*(?:\.\d+)?)\s?(bn|billion|b|mn|million|m|trillion|k|thousand)?\b", re.IGNORECASE
)
_UNITS = {"b": 1e9, "m": 1e6, "t": 1e12, "k": 1e3}


@dataclass(frozen=True, slots=True)
class Score:
    """One item as numbers: category is an index into CATEGORIES, confidence its probability."""

    item: Item
    assets: tuple[str, ...]
    category: int
    severity: float
    sentiment: float
    confidence: float

    @property
    def name(self) -> str:
        return CATEGORY_NAMES[self.category]


def score(items: Sequence[Item], classifier: Classifier | None = None) -> list[Score]:
    """A score for each item, in their order."""
    odds = (classifier or packaged()).probabilities([item.whole for item in items])
    return [_score(item, row.tolist()) for item, row in zip(items, odds, strict=True)]


def score_facts(scores: Sequence[Score]) -> dict[str, Facts]:
    """`news:COIN` or `news:ALL` -> its facts of kind `news_scores`; event_time is when a text was published."""
    rows: dict[str, list[Score]] = {}
    for made in scores:
        for asset in made.assets or (EVERYTHING,):
            rows.setdefault(f"news:{asset}", []).append(made)
    return {name: _facts(found) for name, found in sorted(rows.items())}


def severity(text: str, category: int) -> float:
    """0..1: the prior of the class; 0.1 for each factor of ten in dollars around 50 million; 30 % less if hedged."""
    base = CATEGORIES[category].severity
    amounts = [float(n.replace(",", "")) * _UNITS.get(unit[:1].lower(), 1.0) for n, unit in _AMOUNT.findall(text)]
    if amounts and CATEGORIES[category].name in _SIZED:
        base += 0.1 * math.log10(max(*amounts, 1e4) / 5e7)
    if HEDGES & set(re.findall(r"[a-z']+", text.lower())):
        base *= 0.7
    return round(min(1.0, max(0.0, base)), 4)


def sentiment(text: str, category: int) -> float:
    """-1..1: tanh of half the tones found, negated ones turned over, and the prior of the class as one tone more."""
    words = re.findall(r"[a-z0-9'\-]+", text.lower())
    total = CATEGORIES[category].sentiment * 2
    for place, word in enumerate(words):
        turned = any(before in NEGATIONS for before in words[max(0, place - 2) : place])
        total += tone(word) * (-1 if turned else 1)
    return round(math.tanh(total / 2), 4)


def _score(item: Item, odds: list[float]) -> Score:
    best = max(range(len(odds)), key=odds.__getitem__)
    text = item.whole
    return Score(item, tag_assets(text), best, severity(text, best), sentiment(text, best), round(odds[best], 4))


def _facts(scores: Sequence[Score]) -> Facts:
    values = [
        (float(s.category), s.severity, s.sentiment, s.confidence, float(s.item.scheduled // SECOND)) for s in scores
    ]
    return Facts.of("news_scores", [s.item.published for s in scores], [s.item.known_at for s in scores], values)
