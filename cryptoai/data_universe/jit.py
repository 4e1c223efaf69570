"""`njit` for every compiled loop: numba's, with a disk cache that knows the sources of all of them.

Numba's own cache looks at the file of one function only, so a change in a function that it calls, in another file,
would go unseen and old code would run. Here the cache's folder is named by a hash of every file that compiles (it names
this module) and of those whose numbers are compiled in. `NUMBA_CACHE_DIR` chooses the folder above; without it the
user's cache folder is taken. Where neither can be written the code compiles anew in each process.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, overload

import numba
from numba.core import config as numba_config

from cryptoai.core.ids import content_hash

__all__ = ["lean", "njit"]

Function = TypeVar("Function", bound=Callable[..., Any])


class _Njit(Protocol):
    """`@njit`, or `@njit(option=...)`; what is decorated keeps its signature for readers."""

    @overload
    def __call__(self, function: Function, /) -> Function: ...
    @overload
    def __call__(self, /, **options: Any) -> Callable[[Function], Function]: ...


_SETTINGS: Any = numba_config
_PACKAGE = Path(__file__).resolve().parents[1]
_NUMBERS = ("events.py", "facts.py", "schema.py", "onchain/metrics.py", "market_events/taxonomy.py")
_COMPILED = (_PACKAGE / "data_universe", _PACKAGE / "backtesting")


def _numbers(path: Path) -> bool:
    """Whether compiled code takes constants from this file."""
    return path in {_PACKAGE / "data_universe" / name for name in _NUMBERS}


def _cache_folder() -> Path:
    sources = sorted(path for folder in _COMPILED for path in folder.rglob("*.py"))
    texts = [t for path in sources if b"data_universe.jit" in (t := path.read_bytes()) or _numbers(path)]
    version = content_hash("".join(content_hash(text) for text in texts).encode(), 16)
    above = Path(_SETTINGS.CACHE_DIR) if _SETTINGS.CACHE_DIR else Path.home() / ".cache" / "cryptoai" / "numba"
    return above / version


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _decorator() -> _Njit:
    folder = _cache_folder()
    if not _writable(folder):
        return cast(_Njit, numba.njit)
    _SETTINGS.CACHE_DIR = str(folder)
    return cast(_Njit, functools.partial(numba.njit, cache=True))


njit = _decorator()


def lean(function: Function) -> Function:
    """`njit` for a function that allocates nothing: without reference counting a book row is five times faster.

    Numba counts references to every array of a tuple at each call, with atomic instructions. A function that does
    allocate fails to compile here.
    """
    return njit(_nrt=False)(function)
