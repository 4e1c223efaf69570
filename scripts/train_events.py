"""Makes the weights of the event classifier from its labelled texts, and measures them on texts that they never saw.

Run after a change of labels, lexicon, taxonomy or code: `python scripts/train_events.py`. With `--check` nothing is
written and the exit code says whether the packaged weights were made of today's labels and code, by the fingerprint in
them; with `--check --refit` they are made again and compared. Prints one JSON line of measures, and with `--confusion`
the classes that are taken for each other. The held-out texts are read here and in a test, and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryptoai.core.ids import content_hash
from cryptoai.data_universe.market_events.classifier import Classifier
from cryptoai.data_universe.market_events.learn import (
    Labelled,
    across_styles,
    calibration_error,
    fit,
    macro_f1,
    macro_f1_interval,
    read_labels,
)
from cryptoai.data_universe.market_events.taxonomy import CATEGORY_NAMES

FOLDER = Path(__file__).resolve().parent.parent / "cryptoai" / "data_universe" / "market_events"
WEIGHTS = FOLDER / "weights.npz"
TRAIN = ("headlines.txt", "notices.txt")
CODE = ("classifier.py", "coins.py", "learn.py", "lexicon.py", "taxonomy.py")


def labels(*names: str) -> Labelled:
    """Files of labelled texts."""
    return read_labels(*((FOLDER / "labels" / name).read_text(encoding="utf-8") for name in names))


def ingredients() -> str:
    """Fingerprint of everything that the weights follow from."""
    paths = [*(FOLDER / "labels" / name for name in TRAIN), *(FOLDER / name for name in CODE)]
    return content_hash(b"".join(f"{path.name}\n".encode() + path.read_bytes() for path in paths), 32)


def check(*, refit: bool) -> bool:
    """Whether the packaged weights are those of today's labels and code."""
    held = Classifier.of_bytes(WEIGHTS.read_bytes())
    return held.made_of == ingredients() and (not refit or same(fit(labels(*TRAIN)), held))


def same(made: Classifier, held: Classifier) -> bool:
    """Whether two sets of weights agree but for the rounding of another machine's arithmetic."""
    steps = np.abs(made.weights.astype(np.int16) - held.weights.astype(np.int16))
    numbers = [np.append(one.scale, [one.bias.sum(), one.temperature]) for one in (made, held)]
    return bool(steps.max() <= 1 and np.allclose(*numbers, rtol=1e-3) and np.array_equal(made.idf, held.idf))


def measures(made: Classifier, train: Labelled, unseen: Labelled) -> dict[str, object]:
    """What docs/market-events.md reports."""
    odds = made.probabilities(unseen.texts)
    guess = odds.argmax(axis=1)
    scores, places = across_styles(train)
    low, high = macro_f1_interval(unseen.classes, guess, np.random.default_rng(0))
    return {
        "train": len(train.texts),
        "held_out": len(unseen.texts),
        "macro_f1": round(macro_f1(unseen.classes, guess), 3),
        "interval_95": [round(low, 3), round(high, 3)],
        "accuracy": round(float(np.mean(guess == unseen.classes)), 3),
        "second_guess": round(float(np.mean((np.argsort(odds)[:, -2:] == unseen.classes[:, None]).any(axis=1))), 3),
        "calibration_error": round(calibration_error(unseen.classes, odds), 3),
        "macro_f1_notices_from_headlines": round(macro_f1(train.classes[places], scores.argmax(axis=1)), 3),
        "bytes": WEIGHTS.stat().st_size,
    }


def confusion(made: Classifier, unseen: Labelled) -> str:
    """Recall of each class and what its texts are taken for, most often first."""
    guess = made.probabilities(unseen.texts).argmax(axis=1)
    lines = []
    for place, name in enumerate(CATEGORY_NAMES):
        found = Counter(guess[unseen.classes == place].tolist())
        wrong = ", ".join(f"{CATEGORY_NAMES[other]} {n}" for other, n in found.most_common() if other != place)
        precision = found[place] / max(int(np.sum(guess == place)), 1)
        recall = found[place] / max(sum(found.values()), 1)
        lines.append(f"| {name} | {recall:.2f} | {precision:.2f} | {wrong} |")
    return "\n".join(["| class | recall | precision | taken for |", "|---|---|---|---|", *lines])


def main() -> int:
    """Makes, checks or measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--refit", action="store_true")
    parser.add_argument("--confusion", action="store_true")
    chosen = parser.parse_args()
    if chosen.check:
        fresh = check(refit=chosen.refit)
        print("weights.npz is up to date" if fresh else "weights.npz is not what its labels give; run the script")
        return 0 if fresh else 1
    train = labels(*TRAIN)
    made = replace(fit(train), made_of=ingredients())
    WEIGHTS.write_bytes(made.to_bytes())
    unseen = labels("held_out.txt")
    print(json.dumps(measures(Classifier.of_bytes(WEIGHTS.read_bytes()), train, unseen)))
    if chosen.confusion:
        print(confusion(made, unseen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
