"""Structured logs: key=value for a person at a terminal, one JSON object a line for everything else, on stderr.

Called once by each composition root. Nothing that looks like a secret leaves the process: values under telling keys are
replaced before they are rendered, and so is what follows such a word inside a text (an exception, a URL, a repr).
Tracebacks are printed without local variables, for the same reason.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from cryptoai.core.errors import ConfigError

__all__ = ["HIDDEN", "configure_logging", "redact", "scrub"]

HIDDEN = "[hidden]"
_WORDS = (
    r"secret|token|password|passwd|passphrase|mnemonic|signature|credential|authorization|private|"
    r"api[_-]?key|access[_-]?key"
)
_SECRET = re.compile(_WORDS, re.IGNORECASE)
_INLINE = re.compile(
    rf"""((?:{_WORDS})[\w-]*\\*["']?\s*[=:]\s*(?:bearer\s+|basic\s+)?\\*["']?)[^\s"'\\&,;)}}\]]+""", re.IGNORECASE
)
_BEARER = re.compile(r"(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_USERINFO = re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+(?=@)")


def scrub(text: str) -> str:
    """`text` with the value after each `api_key=`, `"token": `, `Bearer ` or in `user:password@host` hidden."""
    for pattern in (_INLINE, _BEARER, _USERINFO):
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: hides the value of every key that names a secret, at any depth."""
    return _mapping(event)


def _mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: HIDDEN if _SECRET.search(str(key)) else _inside(item) for key, item in value.items()}


def _inside(value: object) -> object:
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_inside(item) for item in value]
    return value if value is None or isinstance(value, int | float) else scrub(str(value))


def configure_logging(*, level: str = "info", json: bool | None = None) -> None:
    """Sets up structlog; `json` defaults to "stderr is not a terminal"."""
    as_json = not sys.stderr.isatty() if json is None else json
    known = logging.getLevelNamesMapping()
    if level.upper() not in known:
        raise ConfigError(f"log level {level!r} is not one of debug, info, warning, error, critical")
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(known[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
