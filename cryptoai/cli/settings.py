"""Reads configuration: a YAML file, then environment variables, then `--set`, each laid on the one before.

Called by every composition root and by nobody else; the result is a frozen `core.config.Config`.
It must never print a value: a mistyped secret would end in a log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cryptoai.core.config import Config, build, merge, nest
from cryptoai.core.errors import ConfigError

__all__ = ["ENV_PREFIX", "load_config", "project_root"]

ENV_PREFIX = "CRYPTOAI__"


def load_config(path: Path | None = None, sets: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Config:
    """The validated tree; without `path` the defaults are the base. ConfigError names the key and the fix."""
    raw = {} if path is None else _read_yaml(path)
    build(raw, source=str(path))
    raw = merge(raw, _from_env(os.environ if env is None else env))
    build(raw, source="environment")
    return build(merge(raw, _from_sets(sets)), source="--set")


def project_root() -> Path:
    """The checkout that holds bentos/, feature_repo/ and configs/ beside the installed package."""
    return Path(__file__).resolve().parents[2]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"configuration file {path}: {error.strerror}; give an existing file to --config") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"configuration file {path} is not YAML: {' '.join(str(error).split())}") from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(
            f"configuration file {path} must hold sections (model:, training:, ...), not a {type(raw).__name__}"
        )
    return raw


def _from_env(env: Mapping[str, str]) -> dict[str, Any]:
    """CRYPTOAI__RISK__MAX_LEVERAGE=3 -> {'risk': {'max_leverage': 3}}."""
    named = {key.removeprefix(ENV_PREFIX).lower(): value for key, value in env.items() if key.startswith(ENV_PREFIX)}
    return nest({key: _scalar(value) for key, value in named.items()}, separator="__")


def _from_sets(sets: Sequence[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for item in sets:
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item}: write it as section.key=value, for example --set risk.max_leverage=3")
        pairs[key.strip()] = _scalar(value)
    return nest(pairs)


def _scalar(text: str) -> Any:
    """A YAML scalar, so that 3 is a number and `shadow` a word."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
