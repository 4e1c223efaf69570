"""Structured logs: key=value for a person at a terminal, one JSON object a line for everything else, on stderr.

Called once by each composition root. Nothing that looks like a secret leaves the process: values under telling keys are
replaced before they are rendered.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

__all__ = ["configure_logging", "redact"]

_SECRET = re.compile(r"secret|token|password|passwd|api_?key|private|authorization|credential", re.IGNORECASE)
HIDDEN = "[hidden]"


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: hides the value of every key that names a secret, at any depth."""
    return {key: HIDDEN if _SECRET.search(str(key)) else _inside(value) for key, value in event.items()}


def _inside(value: object) -> object:
    if isinstance(value, dict):
        return {key: HIDDEN if _SECRET.search(str(key)) else _inside(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_inside(item) for item in value]
    return value


def configure_logging(*, level: str = "info", json: bool | None = None) -> None:
    """Sets up structlog; `json` defaults to "stderr is not a terminal"."""
    as_json = not sys.stderr.isatty() if json is None else json
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
