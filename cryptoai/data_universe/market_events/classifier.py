"""The class of a text: TF-IDF over hashed words and letters, and one linear layer whose weights ship with the package.

Weights are made by scripts/train_events.py from the files in labels/ and never edited; docs/market-events.md tells
their quality on texts that they never saw. Deterministic, no network, some milliseconds a headline. What it returns
is a guess with a probability: it must never be treated as a fact about the world.

Method: multinomial logistic regression on sublinear TF-IDF (Manning, Raghavan & Schuetze 2008, Introduction to
Information Retrieval, ch. 6, 15), with the hashing trick (Weinberger et al. 2009) and a calibrated temperature (Guo et
al. 2017).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from zlib import crc32

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import InvariantError
from cryptoai.data_universe.market_events.coins import hide_names
from cryptoai.data_universe.market_events.lexicon import cues
from cryptoai.data_universe.market_events.taxonomy import CATEGORY_NAMES

__all__ = ["BUCKETS", "SHARES", "Classifier", "counts", "packaged", "vector"]

BUCKETS = 1 << 15
SHARES = (0.1, 0.2, 0.7)
"""Of the three blocks of `counts`; chosen on notices by a fit of headlines."""
_MOST_LETTERS = 2000
_URL = re.compile(r"https?://\S+|www\.\S+")
_MONEY = re.compile(
    r"(?:us)?[$€£]\s?\d[\d.,]*\s?(?:bn|billion|m|mn|million|k|thousand|trillion|b)?\b|\b\d[\d.,]*\s?(?:bn|billion|million|mn|m)\b"
)
_PERCENT = re.compile(r"\d[\d.,]*\s?(?:%|per cent|percent)")
_CLOCK = re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b|\b\d{1,2}\s?(?:am|pm)\b|\butc\b")
_MONTH = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)(?:uary|ruary|ch|il|e|y|ust|tember|ober|ember)?\b"
)
_NUMBER = re.compile(r"\d[\d.,]*")
_WORD = re.compile(r"[a-z][a-z']*")

Floats = npt.NDArray[np.float64]


def counts(text: str) -> tuple[dict[int, int], ...]:
    """How often each bucket occurs, by block: cues of experts, words, letters (3 to 5 in a word)."""
    cut = text[:_MOST_LETTERS]
    words = _words(cut)
    edged = [f"<{word}>" for word in words]
    blocks = (
        [f"k {cue}" for cue in cues(cut.lower())],
        [f"w {word}" for word in words],
        [f"c {word[i : i + n]}" for word in edged for n in (3, 4, 5) for i in range(len(word) - n + 1)],
    )
    return tuple(Counter(crc32(gram.encode()) % BUCKETS for gram in block) for block in blocks)


def vector(text: str, idf: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Buckets and values of a text; each block has unit length times the root of its share."""
    buckets: list[npt.NDArray[np.int64]] = []
    values: list[Floats] = []
    for found, share in zip(counts(text), SHARES, strict=True):
        place = np.fromiter(found.keys(), np.int64, len(found))
        value = (1 + np.log(np.fromiter(found.values(), np.float64, len(found)))) * idf[place]
        norm = np.sqrt((value**2).sum())
        buckets.append(place)
        values.append(value * (np.sqrt(share) / norm if norm > 0 else 0.0))
    return np.concatenate(buckets), np.concatenate(values)


def _words(text: str) -> list[str]:
    """Lower-case words, with names, amounts and times replaced by what they are."""
    plain = hide_names(_URL.sub(" ", text)).lower()
    for pattern, word in ((_MONEY, " moneyx "), (_PERCENT, " percentx "), (_CLOCK, " clockx "), (_MONTH, " monthx ")):
        plain = pattern.sub(word, plain)
    return _WORD.findall(_NUMBER.sub(" numberx ", plain))


@dataclass(frozen=True, slots=True)
class Classifier:
    """Weights: int8[classes, BUCKETS] with a scale for each class, idf float32[BUCKETS], bias float64[classes]."""

    weights: npt.NDArray[np.int8]
    scale: Floats
    bias: Floats
    idf: npt.NDArray[np.float32]
    temperature: float
    made_of: str = ""
    """Fingerprint of the labels and the code that made it."""

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """float64[n, classes], rows sum to 1; a text without a known word gets the prior."""
        scores = np.array([self._scores(text) for text in texts]).reshape(len(texts), len(CATEGORY_NAMES))
        scores /= self.temperature
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf) if len(texts) else 0.0
        odds = np.exp(scores)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    def _scores(self, text: str) -> Floats:
        buckets, values = vector(text, self.idf)
        return np.asarray(self.bias + self.scale * (self.weights[:, buckets] @ values))

    def to_bytes(self) -> bytes:
        """The weights as a compressed NumPy archive without pickles."""
        file = BytesIO()
        np.savez_compressed(
            file,
            weights=self.weights,
            scale=self.scale,
            bias=self.bias,
            idf=self.idf.astype(np.float16),
            temperature=np.float64(self.temperature),
            names=np.array(CATEGORY_NAMES),
            made_of=np.array(self.made_of),
        )
        return file.getvalue()

    @classmethod
    def of_bytes(cls, data: bytes) -> Classifier:
        """The inverse of `to_bytes`; `InvariantError` if the classes are not those of the taxonomy."""
        with np.load(BytesIO(data), allow_pickle=False) as held:
            if tuple(held["names"].tolist()) != CATEGORY_NAMES:
                raise InvariantError(
                    "the classifier knows other classes than the taxonomy; run scripts/train_events.py"
                )
            idf = held["idf"].astype(np.float32)
            numbers = (held["weights"], held["scale"], held["bias"], idf, float(held["temperature"]))
            return cls(*numbers, str(held["made_of"]))


@cache
def packaged() -> Classifier:
    """The classifier that ships with the package."""
    return Classifier.of_bytes(files(__package__).joinpath("weights.npz").read_bytes())
