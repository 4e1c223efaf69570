"""docs/features.md, written from the schema: `python -m cryptoai.data_universe.schema_docs > docs/features.md`.

A test compares the file with `render()`, so the page cannot drift. Reads nothing but the schema.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from cryptoai.data_universe import schema

__all__ = ["render"]


def render() -> str:
    """The whole page as Markdown, with a final newline."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Features"
    yield ""
    yield f"The state vector has {schema.WIDTH} numbers, each with a mask: 0 says missing,"
    yield f"and nothing is invented in its place. Schema `{schema.SCHEMA_HASH}`."
    yield "This page is written from `cryptoai/data_universe/schema.py`."
    yield ""
    yield "## Signs"
    yield ""
    yield " ".join((schema.Feature.__doc__ or "").split("\n\n", 1)[1].split()).replace("`", "'")
    yield ""
    yield "## Feeds"
    yield ""
    yield from (f"- `{name}`: {what}" for name, what in schema.SOURCES.items())
    for group in schema.GROUPS:
        yield from _table(group)


def _table(group: str) -> Iterator[str]:
    places = schema.group_slice(group)
    yield ""
    yield f"## {group} ({places.stop - places.start})"
    yield ""
    yield "| # | name | formula | unit | window | feed | missing | after |"
    yield "|---|---|---|---|---|---|---|---|"
    for place in range(places.start, places.stop):
        f = schema.FEATURES[place]
        cells = (f.formula, f.unit, f.window, f.source, f.missing, f.reference)
        yield f"| {place} | `{f.name}` | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(render())
