"""Writes requirements.lock from pyproject.toml, and says when the two have drifted apart.

Run by hand after a dependency changes (`python scripts/lock.py`), and by `make check` with
`--check`. It never names a CUDA package or a local version of torch: plain pip then takes the
CPU build where that is what the index offers, and torch's own requirements bring CUDA elsewhere.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
ACCELERATOR = ("nvidia-", "cuda-", "triton")
STAMP = "# pyproject: "


def declared() -> list[str]:
    """Every requirement of pyproject.toml that is not the project itself, sorted."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return sorted({line for group in groups for line in group if not line.startswith("cryptoai[")})


def stamp() -> str:
    return hashlib.sha256("\n".join(declared()).encode()).hexdigest()[:16]


def compile_lock(upgrade: bool) -> str:
    """The lock's text: uv resolves, what is pinned stays unless `upgrade`, torch brings the accelerator's packages."""
    command = ["uv", "pip", "compile", "pyproject.toml", "--all-extras", "--python-version", "3.11"]
    options = ["--no-header", "--no-annotate", "--quiet", "--no-emit-index-url"]
    if LOCK.exists() and not upgrade:
        options += ["--constraint", str(LOCK)]
    done = subprocess.run(
        [sys.executable, "-m", *command, *options], cwd=ROOT, check=True, capture_output=True, text=True
    )
    pins = [line for line in done.stdout.splitlines() if not line.startswith(ACCELERATOR)]
    header = ["# Made by scripts/lock.py (uv pip compile). Do not edit.", STAMP + stamp()]
    return "\n".join([*header, *pins]) + "\n"


def drift() -> list[str]:
    """Why the lock no longer answers pyproject.toml; empty when it does."""
    text = LOCK.read_text()
    if STAMP + stamp() not in text:
        return ["pyproject.toml's requirements changed after requirements.lock was made"]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    loose = [f"not an exact pin: {line}" for line in lines if "==" not in line]
    pins = {canonicalize_name(p.split("==")[0]): p.split("==")[1] for p in lines if "==" in p}
    return loose + [why for line in declared() if (why := _unmet(Requirement(line), pins))]


def _unmet(wanted: Requirement, pins: dict[str, str]) -> str:
    pinned = pins.get(canonicalize_name(wanted.name))
    if pinned is None:
        return f"{wanted} has no pin"
    return "" if wanted.specifier.contains(pinned, prereleases=True) else f"{wanted} is pinned at {pinned}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the lock is up to date")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit, not the pinned ones")
    chosen = parser.parse_args()
    if not chosen.check:
        LOCK.write_text(compile_lock(chosen.upgrade))
        return 0
    reasons = drift()
    for reason in reasons:
        print(f"requirements.lock: {reason}. Run: python scripts/lock.py", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    raise SystemExit(main())
