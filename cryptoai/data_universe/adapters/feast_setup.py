"""Feast's own settings: its configuration for our folders and servers, its silence, and the definitions it applies.

Only `feast_store` calls this, and only inside functions, because importing Feast takes seconds. The password of a Redis
goes to the client alone and never into a configuration that could be printed or stored.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from cryptoai.core.errors import ConfigError, DataError
from cryptoai.data_universe.adapters.hot_store import KEY_TTL_S, RedisAddress

__all__ = ["configure", "joining", "lighten", "load_definitions", "quiet", "write_repository"]

_BANNED = "dask"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Feast prints progress, warns of its future and logs files that do not exist yet; none of it is for our users."""
    logger, level = logging.getLogger("feast"), logging.getLogger("feast").level
    logger.setLevel(logging.ERROR)
    try:
        sink = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def joining() -> Iterator[None]:
    """`quiet`, for what reads history: drops the DuckDB connection that ibis keeps for the next caller.

    Left open until the interpreter ends, it prints a list of leaks at our users.
    """
    try:
        with quiet():
            yield
    finally:
        ibis: Any = sys.modules.get("ibis")
        if ibis is not None:
            ibis.options.default_backend = None


def load_definitions(path: Path) -> Any:
    """The module that makes the Feast objects; DataError if it is not there."""
    if not path.is_file():
        raise DataError(f"{path} is missing; set features.repo to the folder of the Feast repository")
    spec = importlib.util.spec_from_file_location("cryptoai_feast_definitions", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    with quiet():
        spec.loader.exec_module(module)
    return module


def configure(
    repo: Path, data: Path, online: RedisAddress | None, *, project: str | None, registry: str | None, overlay: str
) -> Any:
    """Feast's configuration of the repository `repo` with everything in `data`; all paths absolute.

    `registry` is the SQLAlchemy URL of a shared registry, None for a file; `overlay` names a file of overlays/ that is
    laid over feature_store.yaml, "" for none.
    """
    from feast.repo_config import RepoConfig

    raw = _yaml(repo / "feature_store.yaml")
    raw |= _yaml(repo / "overlays" / f"{overlay}.yaml") if overlay else {}
    if str(raw.get("offline_store", {}).get("type", _BANNED)).lower() == _BANNED:
        raise ConfigError(f"{repo}: offline_store.type must not be dask, which drops rows of a join; write duckdb")
    raw |= {"registry": _registry(data, registry), "online_store": _online(online, data)}
    return RepoConfig(**{**raw, "project": project or raw["project"]}, repo_path=repo)


def write_repository(config: Any, definitions: Path, data: Path, allowed: Mapping[str, int]) -> None:
    """A Feast repository beside the data, for the plain `feast` command; passwords stay in the environment."""
    engine = config.offline_store.type
    raw = config.model_dump(mode="json", exclude_unset=True, by_alias=True, exclude={"repo_path"})
    if raw["online_store"]["type"] == "redis":
        raw["online_store"]["connection_string"] += ",password=${CRYPTOAI_REDIS_PASSWORD}"
    if isinstance(raw["registry"], dict):
        raw["registry"]["path"] = "${CRYPTOAI_REGISTRY}"
    (data / "feature_store.yaml").write_text("# Made by `cryptoai features apply`.\n" + yaml.safe_dump(raw))
    (data / "definitions.py").write_text(
        '"""Made by `cryptoai features apply`: the plain `feast` command works in this folder."""\n\n'
        "from pathlib import Path\nfrom runpy import run_path\n\n"
        f"_made = run_path({str(definitions)!r})['objects'](Path(__file__).parent, {dict(allowed)!r}, {engine!r})\n"
        "globals().update({f'_object_{k}': made for k, made in enumerate(_made)})\n"
    )


def lighten(online_store: Any, config: Any, redis: Any | None) -> None:
    """SQLite without a disk flush for each group: the online store is a copy, the lake and the files are the truth.

    Redis with our client: Feast's own would wait for seconds.
    """
    if redis is None:
        connection = online_store._get_conn(config)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
    else:
        online_store._client = redis


def _registry(data: Path, url: str | None) -> Any:
    if url is None:
        return str(data / "registry.db")
    return {"registry_type": "sql", "path": url, "cache_ttl_seconds": 60}


def _online(address: RedisAddress | None, data: Path) -> dict[str, Any]:
    if address is None:
        return {"type": "sqlite", "path": str(data / "online.db")}
    secure = f",ssl=true{f',ssl_ca_certs={address.ca}' if address.ca else ''}" if address.tls else ""
    return {
        "type": "redis",
        "connection_string": f"{address.host}:{address.port},db={address.db}{secure}",
        "key_ttl_seconds": KEY_TTL_S,
        "skip_dedup": True,
    }


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read as a Feast configuration: {error}") from error
    return found
