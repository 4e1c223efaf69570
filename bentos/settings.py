"""What a server process reads from its environment, the same names as everywhere: CRYPTOAI__SERVING__MAX_BATCH=64.

Called by `bentos.service` (in each worker) and `bentos.serve`. `CRYPTOAI_BUNDLE` names the bundle folder; without it
the one packaged beside this code is served.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptoai.core.config import Config, build, nest

__all__ = ["PACKAGED_BUNDLE", "ServerSettings", "read_settings"]

PACKAGED_BUNDLE = Path("models") / "bundle"
"""Where a Bento carries its bundle, relative to the folder that holds `bentos/`."""

_PREFIXES = ("CRYPTOAI__SERVING__", "CRYPTOAI__EXECUTION__MODEL_TIMEOUT_MS")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    bundle: Path
    config: Config


def read_settings(env: Mapping[str, str] | None = None) -> ServerSettings:
    """ConfigError names a bad value."""
    variables = os.environ if env is None else env
    named = {
        key.removeprefix("CRYPTOAI__").lower(): value for key, value in variables.items() if key.startswith(_PREFIXES)
    }
    root = Path(__file__).resolve().parents[1]
    bundle = Path(variables.get("CRYPTOAI_BUNDLE") or root / PACKAGED_BUNDLE)
    return ServerSettings(bundle, build(nest(named, separator="__"), source="environment"))
