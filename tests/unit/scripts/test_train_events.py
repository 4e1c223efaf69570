"""The packaged weights are those that the labelled texts and the code of today give."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import train_events


def test_the_weights_were_made_of_todays_labels_and_code() -> None:
    """By the fingerprint that the script writes into them."""
    assert train_events.check(refit=False), "run `python scripts/train_events.py`"


def test_another_label_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more text, and the weights are those of other labels."""
    for path in sorted(train_events.FOLDER.rglob("*")):
        if path.suffix in (".py", ".txt"):
            copy = tmp_path / path.relative_to(train_events.FOLDER)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(train_events, "FOLDER", tmp_path)
    assert train_events.check(refit=False)
    with (tmp_path / "labels" / "notices.txt").open("a") as file:
        file.write("One more notice\n")
    assert not train_events.check(refit=False)


@pytest.mark.slow
def test_a_new_fit_gives_the_same_weights() -> None:
    """But for the last bit of rounding."""
    assert train_events.check(refit=True)
