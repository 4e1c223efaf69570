"""Does a live object still say what we asked for? Ours is a subset: servers add defaults, others add labels.

A list is one value: another length, or one element that differs, and the whole list is ours again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptoai.core.ids import content_hash

__all__ = ["APPLIED", "difference", "digest", "first_difference", "stamped"]

Obj = dict[str, Any]

APPLIED = "cryptoai.dev/applied"
_ABSENT = object()


def difference(desired: Mapping[str, Any], live: Mapping[str, Any]) -> Obj:
    """The JSON merge patch (RFC 7386) that makes `live` say what `desired` says; empty when it does."""
    patch: Obj = {}
    for key, wanted in desired.items():
        found = live.get(key, _ABSENT)
        if isinstance(wanted, Mapping) and isinstance(found, Mapping):
            if inner := difference(wanted, found):
                patch[key] = inner
        elif not _says(wanted, found):
            patch[key] = wanted
    return patch


def _says(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and not difference(wanted, found)
    if wanted == [] and found is _ABSENT:  # servers leave empty lists out
        return True
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(_says, wanted, found))
    return type(wanted) is type(found) and bool(wanted == found)


def first_difference(desired: Any, live: Any, path: str = "") -> str | None:
    """The path of the first field that differs, for the sentence that says why; None when nothing does."""
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        steps = ((f"{path}.{key}".lstrip("."), value, live.get(key, _ABSENT)) for key, value in desired.items())
    elif isinstance(desired, list) and isinstance(live, list) and len(desired) == len(live):
        steps = ((f"{path}[{i}]", *pair) for i, pair in enumerate(zip(desired, live, strict=True)))
    else:
        return None if _says(desired, live) else path
    return next((found for at, a, b in steps if (found := first_difference(a, b, at)) is not None), None)


def digest(obj: Obj) -> str:
    """Sixteen hex digits of the object as we ask for it."""
    return content_hash(json.dumps(obj, sort_keys=True, separators=(",", ":")).encode(), 16)


def stamped(obj: Obj) -> Obj:
    """The object with the digest of itself in its annotations."""
    metadata = dict(obj["metadata"])
    metadata["annotations"] = {**metadata.get("annotations", {}), APPLIED: digest(obj)}
    return {**obj, "metadata": metadata}
