"""The packaged weights are those that the labelled texts give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_the_weights_are_up_to_date() -> None:
    """A fit of today's labels agrees with weights.npz but for the last bit of rounding."""
    command = [sys.executable, "scripts/train_events.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
