"""`njit` for every compiled loop: numba's, with a disk cache that knows the sources of all of them.

Numba's own cache looks at the file of one function only, so a change in a function that it
calls, in another file, would go unseen and old code would run. Here the cache's folder is named by a hash of every file with compiled code.
`NUMBA_CACHE_DIR` chooses the folder above; without it the user's cache folder is taken. If neither can be written the
code compiles anew in each process.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numba

from cryptoai.core.ids import content_hash

__all__ = ["njit"]

_PACKAGE = Path(__file__).resolve().parents[1]
_COMPILED = (_PACKAGE / "data_universe", _PACKAGE / "backtesting")


def _cache_folder() -> Path:
    sources = sorted(path for folder in _COMPILED for path in folder.rglob("*.py"))
    version = content_hash("".join(content_hash(path.read_bytes()) for path in sources).encode(), 16)
    above = Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else Path.home() / ".cache" / "cryptoai" / "numba"
    return above / version


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _decorator() -> functools.partial[Any]:
    folder = _cache_folder()
    if not _writable(folder):
        return functools.partial(numba.njit)
    numba.config.CACHE_DIR = str(folder)
    return functools.partial(numba.njit, cache=True)


njit = _decorator()
