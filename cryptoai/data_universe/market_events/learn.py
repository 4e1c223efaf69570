"""Fits the event classifier to labelled texts, and measures it; used by scripts/train_events.py and by tests only.

Small enough to need nothing but NumPy: with fewer texts than buckets the weights are a sum over texts, so the fit runs
in the space of texts (the kernel trick) and takes a second. Deterministic: no random number is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError
from cryptoai.data_universe.market_events.classifier import BUCKETS, Classifier, counts, vector
from cryptoai.data_universe.market_events.taxonomy import CATEGORY_NAMES, category

__all__ = ["Labelled", "across_styles", "calibration_error", "fit", "macro_f1", "macro_f1_interval", "read_labels"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_RIDGE = 3e-4
_STEPS = 300


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts, the index of the class of each, and of the style (the file) that it is written in."""

    texts: tuple[str, ...]
    classes: Ints
    styles: Ints


def read_labels(*contents: str) -> Labelled:
    """Texts under headings such as `[hack]`; lines with `#` before the first are comments. `DataError` if odd."""
    rows = [(text, place, style) for style, content in enumerate(contents) for text, place in _labels(content)]
    texts, classes, styles = zip(*rows, strict=True) if rows else ((), (), ())
    return Labelled(tuple(texts), np.array(classes, np.int64), np.array(styles, np.int64))


def _labels(content: str) -> Iterator[tuple[str, int]]:
    current: int | None = None
    for line in filter(None, map(str.strip, content.splitlines())):
        heading = re.fullmatch(r"\[([a-z_]+)\]", line)
        if heading:
            current = category(heading.group(1))
        elif current is not None:
            yield line, current
        elif not line.startswith("#"):
            raise DataError(f"the labelled text {line[:60]!r} stands under no class; put it below a [class]")


def fit(labelled: Labelled) -> Classifier:
    """The classifier of these texts; its temperature is chosen on texts in a style that a fit had not seen."""
    table, idf = _table(labelled.texts)
    kernel = table @ table.T
    targets = np.eye(len(CATEGORY_NAMES))[labelled.classes]
    scores, unseen = _across(kernel, targets, labelled.styles)
    temperature = _temperature(scores, labelled.classes[unseen])
    sums, bias = _solve(kernel, targets)
    weights = sums.T @ table
    scale = np.maximum(np.abs(weights).max(axis=1), 1e-12) / 127
    return Classifier(np.round(weights / scale[:, None]).astype(np.int8), scale, bias, idf, temperature)


def across_styles(labelled: Labelled) -> tuple[Floats, Ints]:
    """Scores float64[m, classes] of the texts of the later styles by a fit of the first, and their places."""
    table, _ = _table(labelled.texts)
    return _across(table @ table.T, np.eye(len(CATEGORY_NAMES))[labelled.classes], labelled.styles)


def macro_f1(truth: Ints, guess: Ints) -> float:
    """Mean F1 over the classes that occur in `truth`; a class never guessed right counts 0."""
    scores = []
    for place in np.unique(truth):
        hits = int(np.sum((truth == place) & (guess == place)))
        scores.append(2 * hits / (int(np.sum(truth == place)) + int(np.sum(guess == place))))
    return float(np.mean(scores))


def macro_f1_interval(truth: Ints, guess: Ints, generator: np.random.Generator) -> tuple[float, float]:
    """95 % interval of macro-F1: 2000 bootstrap samples drawn within each class."""
    groups = [np.flatnonzero(truth == place) for place in np.unique(truth)]
    found = []
    for _ in range(2000):
        rows = np.concatenate([generator.choice(group, len(group)) for group in groups])
        found.append(macro_f1(truth[rows], guess[rows]))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def calibration_error(truth: Ints, probabilities: Floats) -> float:
    """Expected calibration error over ten equal bins of confidence (Guo et al. 2017)."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((sure * 10).astype(np.int64), 9)
    gaps = [abs(sure[bins == b].sum() - right[bins == b].sum()) for b in range(10)]
    return float(sum(gaps) / len(truth))


def _table(texts: Sequence[str]) -> tuple[Floats, npt.NDArray[np.float32]]:
    """TF-IDF rows float64[n, BUCKETS], and the idf as it will be stored (half precision)."""
    seen = np.zeros(BUCKETS)
    for text in texts:
        seen[list({bucket for block in counts(text) for bucket in block})] += 1
    idf = np.where(seen > 0, np.log((1 + len(texts)) / (1 + seen)) + 1, 0).astype(np.float16).astype(np.float32)
    table = np.zeros((len(texts), BUCKETS))
    for row, text in enumerate(texts):
        np.add.at(table[row], *vector(text, idf))
    return table, idf


def _solve(kernel: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Coefficients [n, classes] and bias of the ridge-penalised fit, by Nesterov's accelerated gradient."""
    count = len(targets)
    step = count / (0.5 * float(np.abs(kernel).sum(axis=1).max()) + 0.5 * count + _RIDGE * count)
    sums, bias = np.zeros_like(targets), np.zeros(targets.shape[1])
    ahead, ahead_bias = sums, bias
    for k in range(_STEPS):
        error = (_softmax(kernel @ ahead + ahead_bias) - targets) / count
        new, new_bias = ahead - step * (error + _RIDGE * ahead), ahead_bias - step * error.sum(axis=0)
        speed = k / (k + 3)
        ahead, ahead_bias = new + speed * (new - sums), new_bias + speed * (new_bias - bias)
        sums, bias = new, new_bias
    return sums, bias


def _across(kernel: Floats, targets: Floats, styles: Ints) -> tuple[Floats, Ints]:
    """Of one style alone, every other text is left out instead."""
    first = styles == 0 if np.any(styles) else np.arange(len(styles)) % 2 == 0
    seen, unseen = np.flatnonzero(first), np.flatnonzero(~first)
    sums, bias = _solve(kernel[np.ix_(seen, seen)], targets[seen])
    return kernel[np.ix_(unseen, seen)] @ sums + bias, unseen


def _temperature(scores: Floats, classes: Ints) -> float:
    """The temperature of least log loss on scores that the fit had not seen."""
    grid = np.exp(np.linspace(np.log(0.1), np.log(3), 69))
    losses = [-np.log(_softmax(scores / t)[np.arange(len(classes)), classes]).mean() for t in grid]
    return float(grid[int(np.argmin(losses))])


def _softmax(scores: Floats) -> Floats:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
