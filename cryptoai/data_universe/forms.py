"""What a file is: a recording of messages, or a table of facts; or why it is neither, in one sentence.

`cryptoai data import` asks `form_of` and goes one of two ways: `importing` or `derivatives.importing`. It looks at the
name and the first lines only. It must never guess a venue or a symbol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from cryptoai.core.errors import DataError
from cryptoai.data_universe.market_microstructure.capture import CaptureFile
from cryptoai.data_universe.market_microstructure.formats import CONNECTION_LINE, open_source
from cryptoai.data_universe.market_microstructure.tardis import is_tardis

__all__ = ["ACCEPTED", "Form", "form_of"]

ACCEPTED = (
    "accepted are raw captures (lines `<local ns> <json>`), files of `cryptoai data record`, captures of several"
    " connections (BYBIT.ws.1.0), Tardis CSV, and CSV or Parquet tables of OHLCV candles, funding, mark and index,"
    " open interest, liquidations or long/short ratios"
)

_LOOK = 100
_RAW = re.compile(rb"\d{10,19} ?[\[{].*", re.DOTALL)
_MARKUP = re.compile(rb"\s*<(\?xml|rss|feed|html|!doctype)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of file in words; `table` tells the two ways apart."""

    text: str
    table: bool


def form_of(path: Path) -> Form:
    """The form of a file or of a folder with one capture; `DataError` names what is wrong and what is accepted."""
    if path.is_dir():
        return Form(open_source(path).form, table=False)
    if not path.exists():
        raise DataError(f"there is no file {path}")
    with path.open("rb") as raw:
        magic = raw.read(4)
    if not magic:
        raise DataError(f"{path} is empty; {ACCEPTED}")
    if magic == b"PAR1" or magic[:2] == b"PK":
        return _table(path, "zipped CSV table" if magic[:2] == b"PK" else "Parquet table")
    return _text(path)


def _text(path: Path) -> Form:
    file = CaptureFile(path)
    lines = list(islice(file.lines(), _LOOK))
    first = lines[0] if lines else b""
    if is_tardis(first) or any(_RAW.fullmatch(line) or CONNECTION_LINE.fullmatch(line) for line in lines):
        return Form(open_source(path).form, table=False)
    if not lines:
        raise DataError(f"{path} has no lines{f' ({file.damage})' if file.damage else ''}; {ACCEPTED}")
    if b"\0" in first or not _decodes(first):
        raise DataError(f"{path} is no text and no Parquet file; {ACCEPTED}")
    if _MARKUP.match(first):
        raise DataError(f"{path} holds XML or HTML (news feeds go to `cryptoai data news import`); {ACCEPTED}")
    if _is_json(first):
        raise DataError(
            f"{path} holds JSON without a local time before it (news go to `cryptoai data news import`); {ACCEPTED}"
        )
    return _table(path, "CSV table")


def _table(path: Path, what: str) -> Form:
    """The facts that a table holds, by its columns."""
    from cryptoai.data_universe.derivatives.importing import kinds_in

    try:
        kinds = kinds_in(path)
    except DataError as error:
        raise DataError(f"{error}; {ACCEPTED}") from error
    named = ", ".join("candles (OHLCV)" if kind == "candles" else kind.replace("_", " ") for kind in kinds)
    return Form(f"{what} of {named}", table=True)


def _decodes(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(line: bytes) -> bool:
    """Whether a line is JSON, or the first of a JSON text on many lines."""
    try:
        return isinstance(orjson.loads(line), dict | list)
    except orjson.JSONDecodeError:
        return line.strip() in (b"{", b"[")
