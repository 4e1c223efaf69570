"""The feature store through Feast: definitions applied, history written and joined, states pushed and read.

Composition roots own one `FeastStore`; nobody else speaks to Feast. Its import takes seconds, so it happens inside the
constructor and not when this module is imported. What Feast leaves open is closed here: an older push never replaces a
newer state, a null counts as missing whatever its status says, and a stale group is masked (Feast has no ttl online).

The online store is SQLite beside the registry, or a Redis that bots share. In Redis Feast ignores a write that is not
newer than what is there, which would lose corrections and freeze a replay; so Feast's own check is switched off and
ours, the same for both stores, decides. One bot writes what it reads: a `project` of its own keeps bots apart.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import ConfigError, DataError, TransientError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.features import Batch

__all__ = ["FeastStore"]

Ints = npt.NDArray[np.int64]

_REDIS_TIMEOUT_S = 0.5
_REDIS_KEY_TTL_S = 86_400
"""Keys of a bot that is gone leave Redis a day after its last push; a decision reads what was pushed just before."""


class FeastStore:
    """Feature store of the Feast repository in `repo`, with registry, online database and history in `data_dir`.

    `max_age_s` is the age past which a group that was read counts as missing. `online` is None for SQLite in `data_dir`
    or "host:port" of a Redis with its `password`; `project` replaces the repository's Feast project. Nothing connects
    before it must: `check` says whether the online store answers. TransientError from any method: it does not.
    """

    def __init__(
        self,
        repo: Path,
        data_dir: Path,
        *,
        max_age_s: float = 5.0,
        online: str | None = None,
        password: str | None = None,
        project: str | None = None,
    ) -> None:
        self._data = data_dir.resolve()
        self._max_age_ns = int(max_age_s * SECOND)
        self._definitions = _load(repo / "definitions.py")
        (self._data / "offline").mkdir(parents=True, exist_ok=True)
        with _quiet():
            from feast import FeatureStore
            from feast.infra.provider import get_provider

            self._config = _configure(repo.resolve(), self._data, _online(online, self._data), project)
            self._store = FeatureStore(config=self._config)
            self._online = get_provider(self._config)
            for provider in (self._online, self._store._get_provider()):
                _lighten(provider, self._config, None if online is None else (*_host_port(online), password))
        self._views: dict[str, Any] = {}

    def check(self) -> None:
        """TransientError if the online store does not answer."""
        if self._config.online_store.type == "redis":
            with _reachable():
                redis: Any = self._online
                redis.online_store._client.ping()

    def apply(self) -> None:
        """Registers the definitions and makes the online tables; safe to repeat."""
        with _quiet(), _reachable():
            self._store.apply(self._definitions.objects(self._data))
        self._views = {}

    def write_offline(self, instrument: str, times: Ints, rows: Batch) -> None:
        """Replaces the history of `instrument`: `rows` at `times`, int64[n] ns; one atomic Parquet file a group."""
        if len(times) != len(rows.values):
            raise DataError(f"{len(times)} times came with {len(rows.values)} rows of features")
        for group in schema.STORED_GROUPS:
            path = self._path(group)
            fresh = _table(instrument, times, rows, schema.group_slice(group))
            if path.exists():
                kept = pq.read_table(path, schema=fresh.schema)
                fresh = pa.concat_tables([kept.filter(pc.not_equal(kept["instrument"], instrument)), fresh])
            _replace(path, fresh)

    def materialize(self, start_ns: int, end_ns: int) -> None:
        """Loads the newest stored row known in [start_ns, end_ns] of each instrument into the online store."""
        with _quiet(), _reachable():
            self._store.materialize(start_date=_floor(start_ns), end_date=_ceil(end_ns))

    def push(self, state: StateVector, *, rewind: bool = False) -> bool:
        """Puts the stored groups of `state` online; False if the store already has a newer state of the instrument.

        `rewind` is for the first push of a replay: what is newer there belongs to another run and is replaced.
        """
        if state.schema_hash != schema.SCHEMA_HASH:
            raise DataError(f"a state of schema {state.schema_hash} cannot be stored as {schema.SCHEMA_HASH}")
        newest = max((known for known, _, _ in self._rows(state.instrument).values()), default=-1)
        if state.known_at < newest and not rewind:
            return False
        key, stamp = _key(state.instrument), _ceil(state.known_at)
        values, mask = state.floats(), state.present()
        for group in schema.STORED_GROUPS:
            protos = _protos(state, values, mask, schema.group_slice(group))
            with _reachable():
                self._online.online_write_batch(self._config, self._view(group), [(key, protos, stamp, stamp)], None)
        return True

    def read(self, instrument: str, now_ns: int) -> StateVector:
        """The newest stored state; groups that are absent, from the future or older than `max_age_s` are masked.

        The portfolio group is masked too: `state.merge` fills it.
        """
        values, mask, known_at, event_time = [0.0] * schema.WIDTH, [False] * schema.WIDTH, 0, 0
        for group, (known, event, row) in self._rows(instrument).items():
            if not 0 <= now_ns - known <= self._max_age_ns:
                continue
            known_at, event_time = max(known_at, known), max(event_time, event)
            for place in range(*schema.group_slice(group).indices(schema.WIDTH)):
                number = row.get(schema.NAMES[place], math.nan)
                values[place], mask[place] = number, math.isfinite(number)
        return StateVector.of(instrument, (event_time, known_at), schema.SCHEMA_HASH, values, mask)

    def history(self, instrument: str, times: Ints) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """(values float64[n, 200], mask) as known at `times`, int64[n] ns, by Feast's point-in-time join."""
        import pandas as pd

        wanted = pd.DataFrame({"instrument": instrument, "event_timestamp": [_floor(int(t)) for t in times]})
        wanted["event_timestamp"] = wanted["event_timestamp"].astype("datetime64[us, UTC]")
        with _quiet():
            service = self._store.get_feature_service(self._definitions.SERVICE)
            joined = self._store.get_historical_features(entity_df=wanted.drop_duplicates(), features=service).to_df()
        joined = wanted.merge(joined, on=["instrument", "event_timestamp"], how="left")
        full = np.full((len(times), schema.WIDTH), np.nan)
        stored = [place for place, f in enumerate(schema.FEATURES) if f.group in schema.STORED_GROUPS]
        full[:, stored] = joined[[schema.NAMES[place] for place in stored]].to_numpy(np.float64)
        return np.nan_to_num(full), np.isfinite(full)

    def _path(self, group: str) -> Path:
        return self._data / "offline" / f"{group}.parquet"

    def _view(self, group: str) -> Any:
        if group not in self._views:
            from feast.errors import FeatureViewNotFoundException

            try:
                self._views[group] = self._store.get_feature_view(group)
            except FeatureViewNotFoundException as error:
                raise DataError(f"feature view {group} is not registered; run `cryptoai features apply`") from error
        return self._views[group]

    def _rows(self, instrument: str) -> dict[str, tuple[int, int, dict[str, float]]]:
        """By group (known_at, event_time, numbers) of the online store."""
        found = {}
        for group in schema.STORED_GROUPS:
            with _reachable():
                ((_, row),) = self._online.online_read(self._config, self._view(group), [_key(instrument)])
            if row and "known_at_ns" in row and row["known_at_ns"].HasField("int64_val"):
                known, event = row["known_at_ns"].int64_val, row["event_time_ns"].int64_val
                numbers = {name: value.float_val for name, value in row.items() if value.HasField("float_val")}
                found[group] = (known, event, numbers)
        return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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


def _load(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path} is missing; set features.repo to the folder of the Feast repository")
    spec = importlib.util.spec_from_file_location("cryptoai_feast_definitions", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    with _quiet():
        spec.loader.exec_module(module)
    return module


def _online(address: str | None, data: Path) -> dict[str, Any]:
    """Feast's settings of the online store."""
    if address is None:
        return {"type": "sqlite", "path": str(data / "online.db")}
    _host_port(address)
    return {
        "type": "redis",
        "connection_string": address,
        "key_ttl_seconds": _REDIS_KEY_TTL_S,
        "skip_dedup": True,
    }


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(f"online store {address!r}: write it as host:port, for example cryptoai-redis:6379")
    return host, int(port)


def _configure(repo: Path, data: Path, online: dict[str, Any], project: str | None) -> Any:
    from feast.repo_config import RepoConfig, load_repo_config

    config = load_repo_config(repo, repo / "feature_store.yaml")
    raw = config.model_dump(exclude_unset=True, by_alias=True, exclude={"repo_path"})
    raw |= {"registry": str(data / "registry.db"), "online_store": online, "project": project or config.project}
    return RepoConfig(**raw, repo_path=repo)


def _lighten(provider: Any, config: Any, redis: tuple[str, int, str | None] | None) -> None:
    """SQLite without a disk flush for each group: the online store is a copy, the lake and the files are the truth.

    Redis with one short try for each call: Feast's client would wait for seconds, and a bot has to obey its kill switch
    meanwhile. The password goes to the client alone, not into a configuration that could be printed.
    """
    if redis is None:
        connection = provider.online_store._get_conn(config)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=OFF")
        return
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    host, port, password = redis
    provider.online_store._client = Redis(
        host=host,
        port=port,
        password=password,
        retry=Retry(NoBackoff(), 1),
        socket_timeout=_REDIS_TIMEOUT_S,
        socket_connect_timeout=_REDIS_TIMEOUT_S,
    )


@contextlib.contextmanager
def _reachable() -> Iterator[None]:
    """Redis's own errors as ours."""
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as error:
        raise TransientError(f"the feature store's Redis does not answer: {error}") from error


def _table(instrument: str, times: Ints, rows: Batch, places: slice) -> pa.Table:
    stamps = pa.array(-(-times // 1000), pa.timestamp("us", tz="UTC"))
    columns: dict[str, Any] = {
        "instrument": pa.array([instrument] * len(times), pa.string()),
        "event_timestamp": stamps,
        "created_timestamp": stamps,
        "known_at_ns": pa.array(times, pa.int64()),
        "event_time_ns": pa.array(rows.event_times, pa.int64()),
    }
    for place in range(*places.indices(schema.WIDTH)):
        missing = ~rows.mask[:, place]
        columns[schema.NAMES[place]] = pa.array(rows.values[:, place].astype(np.float32), pa.float32(), mask=missing)
    return pa.table(columns)


def _replace(path: Path, table: pa.Table) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(table, file, compression="zstd", coerce_timestamps="us")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _key(instrument: str) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["instrument"], entity_values=[Value(string_val=instrument)])


def _protos(state: StateVector, values: list[float], mask: list[bool], places: slice) -> dict[str, Any]:
    from feast.protos.feast.types.Value_pb2 import Value

    row = {
        schema.NAMES[place]: Value(float_val=values[place]) if mask[place] else Value()
        for place in range(*places.indices(schema.WIDTH))
    }
    row["known_at_ns"] = Value(int64_val=state.known_at)
    row["event_time_ns"] = Value(int64_val=state.event_time)
    return row


def _floor(time_ns: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time_ns // 1000)


def _ceil(time_ns: int) -> datetime:
    """Rounded up, so that nothing looks known before it was."""
    return _floor(time_ns + 999)
