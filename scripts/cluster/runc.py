#!/usr/bin/env python3
"""Stands in for runc where CAP_SYS_RESOURCE is missing: takes out of the bundle what runc may not set there.

Called by containerd with runc's own arguments (node.py names it). It must never change anything else of the bundle.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

FORBIDDEN = ("oomScoreAdj", "rlimits")
FILES = {"--bundle": "config.json", "-b": "config.json", "--process": "", "-p": ""}


def strip(file: Path) -> None:
    """Removes the process settings that need CAP_SYS_RESOURCE from a bundle's config.json or an exec's process.json."""
    settings = json.loads(file.read_text())
    process = settings.get("process", settings)
    for key in FORBIDDEN:
        process.pop(key, None)
    file.write_text(json.dumps(settings))


if __name__ == "__main__":
    for flag, value in zip(sys.argv, sys.argv[1:], strict=False):
        if flag in FILES:
            strip(Path(value, FILES[flag]))
    os.execvp("runc", ["runc", *sys.argv[1:]])  # noqa: S606 - becoming runc is the point
