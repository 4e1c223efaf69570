"""The feature store through Feast: definitions applied, history joined, states pushed, materialised and read.

Composition roots own one `FeastStore`; nobody else speaks to Feast. Its import takes seconds, so it happens inside the
constructor and not when this module is imported. What Feast leaves open is closed here: an older state never replaces a
newer one, a null counts as missing whatever its status says, and a group that is too old is masked (Feast has no ttl
online).

Every write goes to Feast and to the packed copy that decisions read (`hot_store`): `read` is that one request,
`read_sdk` the same question to Feast, which the tests hold to the same answer. The online store is SQLite beside the
registry, or a Redis that bots share, where a `project` of its own keeps them apart. In Redis Feast ignores a write that
is not newer than what is there, which would lose corrections and freeze a replay; its own check is switched off, ours
decides for both stores.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cryptoai.core.config import FeaturesConfig
from cryptoai.core.errors import DataError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.feast_setup import (
    configure,
    joining,
    lighten,
    load_definitions,
    quiet,
    write_repository,
)
from cryptoai.data_universe.adapters.hot_store import HotReader, RedisAddress, open_hot, reachable
from cryptoai.data_universe.history import History, Joined, event_column, known_column, usable_rows
from cryptoai.data_universe.packed import Limits, StoredState, limits, masked, newest_in, pack, stored

if TYPE_CHECKING:
    from cryptoai.data_universe.features import Batch

__all__ = ["FeastStore"]

Ints = npt.NDArray[np.int64]


class FeastStore:
    """Feature store of the Feast repository in `repo`, with registry, online database and history in `data_dir`.

    `allowed` is the age past which a group counts as missing, the configuration's defaults if None. `online` is None
    for SQLite in `data_dir`, or a Redis; `project` replaces the repository's Feast project; `registry` is the
    SQLAlchemy URL of a shared registry; `overlay` names a file of the repository's overlays/. Nothing connects before
    it must: `check` says whether the online store answers. TransientError from any method: it does not.
    """

    def __init__(
        self,
        repo: Path,
        data_dir: Path,
        *,
        allowed: Limits | None = None,
        online: RedisAddress | None = None,
        project: str | None = None,
        registry: str | None = None,
        overlay: str = "",
    ) -> None:
        self._repo, self._data = repo.resolve(), data_dir.resolve()
        self.allowed: Limits = allowed or limits(FeaturesConfig())
        self.past = History(self._data / "offline")
        self._definitions = load_definitions(repo / "definitions.py")
        self.past.folder.mkdir(parents=True, exist_ok=True)
        with quiet(), reachable():
            from feast import FeatureStore

            options: dict[str, Any] = {"project": project, "registry": registry, "overlay": overlay}
            self._config = configure(self._repo, self._data, online, **options)
            self._store = FeatureStore(config=self._config)
            self._online = self._store._get_provider()
            lighten(self._online.online_store, self._config, online.client() if online else None)
        self.hot = open_hot(self._data, online, self._config.project)
        self._reader = HotReader(self.hot, self.allowed)
        self._views: dict[str, Any] = {}
        self._served: Any = None

    def check(self) -> None:
        """TransientError if the online store does not answer."""
        self.hot.check()

    def apply(self) -> None:
        """Registers the definitions and makes the online tables; safe to repeat.

        Leaves a Feast repository in the data folder, where the plain `feast` command finds the same store.
        """
        with quiet(), reachable():
            self._store.apply(self._definitions.objects(self._data, self.allowed, self._config.offline_store.type))
        write_repository(self._config, self._repo / "definitions.py", self._data, self.allowed)
        self._views, self._served = {}, None

    def write_offline(
        self, instrument: str, times: Ints, rows: Batch, group_times: Mapping[str, Ints] | None = None
    ) -> None:
        """Replaces the history of `instrument`: `rows` at `times`, int64[n] ns; see `History.write`."""
        self.past.write(instrument, times, rows, group_times=group_times)

    def materialize(self, start_ns: int | None, end_ns: int) -> list[str]:
        """Loads the newest row known in [start_ns, end_ns] of each instrument online; the instruments that it moved.

        With `start_ns` None only what is not online yet is looked at: rows newer than the online state of their
        instrument. A state that is newer online stays.
        """
        found = self._ready(start_ns, end_ns)
        if not found:
            return []
        first = min(state.newest for state in found) if start_ns is None else start_ns
        for state in found:
            self.hot.claim(state.instrument, state.newest)
        with joining(), reachable(), self._guarded({state.instrument: state.newest for state in found}):
            for group in schema.STORED_GROUPS:
                self._view(group)
            self._store.materialize(
                start_date=_floor(first), end_date=_ceil(end_ns), feature_views=list(schema.STORED_GROUPS)
            )
        return [state.instrument for state in found if self.hot.put(state.instrument, pack(state))]

    def push(self, state: StateVector, *, group_times: Mapping[str, int] | None = None, rewind: bool = False) -> bool:
        """Puts the stored groups of `state` online; False if the store already has a newer state of the instrument.

        `group_times` are the event times, ns, of groups that have their own. `rewind` is for the first push of a
        replay: what is newer there belongs to another run and is replaced.
        """
        return self.push_row(stored(state, group_times), rewind=rewind)

    def push_row(self, row: StoredState, *, rewind: bool = False) -> bool:
        """The same for a row that has its times already; its groups were computed at one moment."""
        if not self.hot.claim(row.instrument, row.newest, rewind=rewind):
            return False
        key, stamp = _key(row.instrument), _ceil(row.newest)
        values, mask = np.frombuffer(row.values, "<f4").tolist(), [bool(byte) for byte in row.mask]
        for k, group in enumerate(schema.STORED_GROUPS):
            protos = _protos(group, (row.known_at[k], row.event_times[k]), values, mask)
            with reachable():
                self._online.online_write_batch(self._config, self._view(group), [(key, protos, stamp, stamp)], None)
        return self.hot.put(row.instrument, pack(row), rewind=rewind)

    def read(self, instrument: str, now_ns: int) -> StateVector:
        """The newest stored state; groups that are absent, from the future or too old are masked.

        The portfolio group is masked too: `state.merge` fills it.
        """
        return self._reader.read(instrument, now_ns)

    @property
    def feed_ages(self) -> dict[str, float]:
        """Seconds since the newest fact of each group at the last `read`."""
        return self._reader.feed_ages

    def read_sdk(self, instrument: str, now_ns: int) -> StateVector:
        """The same through Feast's `get_online_features`: slow, and independent of the packed copy."""
        with quiet(), reachable():
            row = self._store.get_online_features(self._service(), [{"instrument": instrument}]).to_dict()
        groups = schema.STORED_GROUPS
        known, events = (
            tuple(row[column(group)][0] or 0 for group in groups) for column in (known_column, event_column)
        )
        numbers = [row.get(name, [None])[0] for name in schema.NAMES]
        floats = [math.nan if number is None else number for number in numbers]
        present = [number is not None for number in numbers]
        whole = StateVector.of(instrument, (0, 0), schema.SCHEMA_HASH, floats, present)
        return masked(StoredState(instrument, known, events, whole.values, whole.mask), now_ns, self.allowed)

    def history(
        self, instrument: str | Sequence[str], times: Ints
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """(values float64[n, 200], mask) as known at `times`, int64[n] ns, by Feast's point-in-time join.

        `instrument` is one for all or one each. Times are cut to microseconds. `join` gives the same, faster.
        """
        import pandas as pd

        self._require_history()
        wanted = pd.DataFrame({"instrument": instrument, "event_timestamp": [_floor(int(t)) for t in times]})
        wanted["event_timestamp"] = wanted["event_timestamp"].astype("datetime64[us, UTC]")
        with joining():
            asked = {"entity_df": wanted.drop_duplicates(), "features": self._service()}
            joined = self._store.get_historical_features(**asked).to_df()
        stamps = pd.to_datetime(joined["event_timestamp"], utc=True)  # Spark gives naive ones, in UTC as configured
        joined["event_timestamp"] = stamps.astype("datetime64[us, UTC]")
        joined = joined.drop_duplicates(["instrument", "event_timestamp"])  # Spark repeats a row that is stored twice
        joined = wanted.merge(joined, on=["instrument", "event_timestamp"], how="left")
        return _columns(joined, times // 1000 * 1000, self.allowed)

    def join(self, instrument: str | Sequence[str], times: Ints) -> Joined:
        """What was known at `times`, int64[n] ns: the join that training uses."""
        return self.past.join(instrument, times, self.allowed)

    def _ready(self, start_ns: int | None, end_ns: int) -> list[StoredState]:
        """The newest stored state of each instrument in the window, if the online store has none that is newer."""
        names = self._require_history()
        claimed = self.hot.claimed(names)
        blobs = {name: self.hot.get(name) for name in names if start_ns is None}
        since = {name: newest_in(blob) + 1 if blob else 1 for name, blob in blobs.items()}
        newest = [self.past.newest(name, end_ns) for name in names]
        return [s for s in newest if s.newest >= max(since.get(s.instrument, start_ns or 1), claimed[s.instrument], 1)]

    def _require_history(self) -> list[str]:
        names = self.past.instruments()
        if not names:
            raise DataError(f"there is no history below {self.past.folder}; run `cryptoai features materialize`")
        return names

    def _service(self) -> Any:
        """Taken from the registry once: Feast makes and checks 206 objects anew for each request of it."""
        if self._served is None:
            from feast.errors import FeatureServiceNotFoundException

            try:
                self._served = self._store.get_feature_service(self._definitions.MARKET_SERVICE, allow_cache=True)
            except FeatureServiceNotFoundException as error:
                raise DataError("the feature services are not registered; run `cryptoai features apply`") from error
        return self._served

    def _view(self, group: str) -> Any:
        if group not in self._views:
            from feast.errors import FeatureViewNotFoundException

            try:
                self._views[group] = self._store.get_feature_view(group)
            except FeatureViewNotFoundException as error:
                raise DataError(f"feature view {group} is not registered; run `cryptoai features apply`") from error
        return self._views[group]

    @contextlib.contextmanager
    def _guarded(self, expected: Mapping[str, int]) -> Iterator[None]:
        """While it lasts, Feast writes the rows that we have claimed and no others."""
        online: Any = self._online.online_store
        write = online.online_write_batch

        def claimed_only(config: Any, table: Any, data: Any, progress: Any) -> None:
            column = known_column(table.name)
            kept = [row for row in data if expected.get(_name(row[0]), -1) == row[1][column].int64_val]
            write(config=config, table=table, data=kept, progress=progress)

        online.online_write_batch = claimed_only
        try:
            yield
        finally:
            del online.online_write_batch


def _columns(joined: Any, times: Ints, allowed: Limits) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The joined table as arrays, with groups that are too old masked as the online store masks them."""
    full = np.full((len(times), schema.WIDTH), np.nan)
    for group in schema.STORED_GROUPS:
        known, events = (
            joined[name].fillna(0).to_numpy(np.int64) for name in (known_column(group), event_column(group))
        )
        usable = usable_rows(group, known, events, times, allowed[group])
        place = schema.group_slice(group)
        numbers = joined[list(schema.NAMES[place])].to_numpy(np.float64)
        full[:, place] = np.where(usable[:, None], numbers, np.nan)
    return np.nan_to_num(full), np.isfinite(full)


def _key(instrument: str) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["instrument"], entity_values=[Value(string_val=instrument)])


def _name(key: Any) -> str:
    return str(key.entity_values[0].string_val)


def _protos(group: str, times: tuple[int, int], values: list[float], mask: list[bool]) -> dict[str, Any]:
    from feast.protos.feast.types.Value_pb2 import Value

    row = {
        schema.NAMES[place]: Value(float_val=values[place]) if mask[place] else Value()
        for place in range(*schema.group_slice(group).indices(schema.WIDTH))
    }
    row[known_column(group)], row[event_column(group)] = (Value(int64_val=time) for time in times)
    return row


def _floor(time_ns: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time_ns // 1000)


def _ceil(time_ns: int) -> datetime:
    """Rounded up, so that nothing looks known before it was."""
    return _floor(time_ns + 999)
