"""The hot path: packed states in Redis or in SQLite, read with one request.

`FeastStore` writes them with the push that writes Feast; bots and `cryptoai features get` read them, without importing
Feast. A writer first claims the time of its state, then writes Feast, then puts the bytes: whatever ends it in between,
the bytes here are never newer than what Feast has, and nothing older than a claim is accepted afterwards, unless a
replay rewinds. One writer for each project and instrument is assumed.

Errors: TransientError when the store does not answer in time, DataError when the bytes cannot be trusted. Neither is
ever read as "no features"; the caller takes the safe action.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from cryptoai.core.errors import ConfigError, TransientError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.packed import Limits, StoredState, ages, masked, newest_in, unpack

__all__ = [
    "KEY_TTL_S",
    "HotReader",
    "HotStore",
    "RedisAddress",
    "RedisHot",
    "SqliteHot",
    "open_hot",
    "reachable",
]

KEY_TTL_S = 86_400
"""Keys of a bot that is gone leave Redis a day after its last push; a decision reads what was pushed just before."""

_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where a Redis is and how to speak to it; the password never shows in a repr or an error."""

    host: str
    port: int
    password: str | None = field(default=None, repr=False)
    user: str | None = None
    db: int = 0
    tls: bool = False
    ca: str | None = None
    timeout_s: float = _TIMEOUT_S

    @classmethod
    def parse(cls, text: str, **over: Any) -> RedisAddress:
        """`host:port`, or redis://[user:password@]host:port[/db]; rediss:// asks for TLS. `over` replaces fields."""
        try:
            url = urlsplit(text if "://" in text else f"redis://{text}")
            port, db = url.port, int(url.path.strip("/") or 0)
        except ValueError:
            port, db, url = None, 0, urlsplit("")
        if url.scheme not in ("redis", "rediss") or not url.hostname or not port:
            shown = text.rpartition("@")[2]
            raise ConfigError(
                f"online store {shown!r}: write it as host:port or rediss://host:port, for example cryptoai-redis:6379"
            )
        user, password = (unquote(part) if part else None for part in (url.username, url.password))
        found = cls(url.hostname, port, password, user, db, url.scheme == "rediss")
        return replace(found, **{name: value for name, value in over.items() if value is not None})

    def client(self) -> Any:
        """A client with one short try for each call: a bot has to obey its kill switch meanwhile."""
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        secure: dict[str, Any] = {"ssl": True, "ssl_ca_certs": self.ca} if self.tls else {}
        return Redis(
            host=self.host,
            port=self.port,
            db=self.db,
            username=self.user,
            password=self.password,
            retry=Retry(NoBackoff(), 1),
            socket_timeout=self.timeout_s,
            socket_connect_timeout=self.timeout_s,
            **secure,
        )


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Redis's and SQLite's own errors as ours."""
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as error:
        raise TransientError(f"the feature store's Redis does not answer: {error}") from error
    except sqlite3.Error as error:
        raise TransientError(f"the feature store's database cannot be used: {error}") from error


class HotStore(Protocol):
    """Packed states by instrument; times in ns."""

    def check(self) -> None:
        """TransientError if the store does not answer."""

    def claim(self, instrument: str, known_at: int, *, rewind: bool = False) -> bool:
        """Announces a state of `known_at`; False if a newer one was announced. Equal is a correction and allowed."""

    def claimed(self, instruments: Sequence[str]) -> dict[str, int]:
        """The newest announced time of each instrument, 0 for an unknown one."""

    def put(self, instrument: str, blob: bytes, *, rewind: bool = False) -> bool:
        """Stores packed bytes; False, and nothing changes, if newer ones are there."""

    def get(self, instrument: str) -> bytes | None:
        """The bytes, None for an unknown instrument; one request."""


_LUA = """
local old = redis.call(ARGV[4], KEYS[1], ARGV[5], ARGV[6])
if ARGV[2] == '0' and old and #old >= 8 then
  local a, b = struct.unpack('>I4I4', old)
  local c, d = struct.unpack('>I4I4', ARGV[7])
  if a > c or (a == c and b > d) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
return 1
"""
"""Set unless the eight big-endian bytes of time there are later; doubles hold 32 bits exactly, not 64."""


class RedisHot:
    """Packed states in Redis, at `cryptoai:{project}:state:{instrument}`, and the claims beside them."""

    def __init__(self, address: RedisAddress, project: str) -> None:
        self._client = address.client()
        self._script = self._client.register_script(_LUA)
        self._project = project

    def check(self) -> None:
        with reachable():
            self._client.ping()

    def claim(self, instrument: str, known_at: int, *, rewind: bool = False) -> bool:
        stamp = known_at.to_bytes(8, "big")
        return self._set(self._key("claim", instrument), stamp, (0, 7), stamp, rewind)

    def claimed(self, instruments: Sequence[str]) -> dict[str, int]:
        with reachable():
            found = self._client.mget([self._key("claim", name) for name in instruments]) if instruments else []
        return {name: int.from_bytes(was or b"", "big") for name, was in zip(instruments, found, strict=True)}

    def put(self, instrument: str, blob: bytes, *, rewind: bool = False) -> bool:
        stamp = newest_in(blob).to_bytes(8, "big")
        return self._set(self._key("state", instrument), blob, (24, 31), stamp, rewind)

    def get(self, instrument: str) -> bytes | None:
        with reachable():
            blob: bytes | None = self._client.get(self._key("state", instrument))
        return blob

    def _key(self, what: str, instrument: str) -> str:
        return f"cryptoai:{self._project}:{what}:{instrument}"

    def _set(self, key: str, value: bytes, at: tuple[int, int], stamp: bytes, rewind: bool) -> bool:
        with reachable():
            done = self._script([key], [value, int(rewind), KEY_TTL_S, "GETRANGE", *at, stamp])
        return bool(done)


class SqliteHot:
    """Packed states in the file `path`: a copy that may be lost with the machine, so it is not flushed."""

    def __init__(self, path: Path, project: str) -> None:
        self._project = project
        path.parent.mkdir(parents=True, exist_ok=True)
        with reachable():
            self._base = sqlite3.connect(path, timeout=_TIMEOUT_S, isolation_level=None, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=OFF")
            for table, kind in (("claim", "INTEGER"), ("state", "BLOB")):
                self._base.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} (project TEXT, instrument TEXT, known_at INTEGER NOT NULL,"
                    f" value {kind}, PRIMARY KEY (project, instrument)) WITHOUT ROWID"
                )

    def check(self) -> None:
        with reachable():
            self._base.execute("SELECT count(*) FROM claim").fetchone()

    def claim(self, instrument: str, known_at: int, *, rewind: bool = False) -> bool:
        return self._set("claim", instrument, known_at, known_at, rewind)

    def claimed(self, instruments: Sequence[str]) -> dict[str, int]:
        query = "SELECT known_at FROM claim WHERE project = ? AND instrument = ?"
        with reachable():
            found = {name: self._base.execute(query, (self._project, name)).fetchone() for name in instruments}
        return {name: row[0] if row else 0 for name, row in found.items()}

    def put(self, instrument: str, blob: bytes, *, rewind: bool = False) -> bool:
        return self._set("state", instrument, newest_in(blob), blob, rewind)

    def get(self, instrument: str) -> bytes | None:
        query = "SELECT value FROM state WHERE project = ? AND instrument = ?"
        with reachable():
            row = self._base.execute(query, (self._project, instrument)).fetchone()
        return row[0] if row else None

    def _set(self, table: str, instrument: str, known_at: int, value: object, rewind: bool) -> bool:
        with reachable():
            done = self._base.execute(
                f"INSERT INTO {table} VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET known_at = excluded.known_at,"  # noqa: S608 - two names of ours
                f" value = excluded.value WHERE ? OR excluded.known_at >= {table}.known_at",
                (self._project, instrument, known_at, value, rewind),
            )
        return done.rowcount == 1


def open_hot(data_dir: Path, address: RedisAddress | None, project: str) -> RedisHot | SqliteHot:
    """The Redis at `address`, else the SQLite file of a feature data folder."""
    return SqliteHot(data_dir / "hot.db", project) if address is None else RedisHot(address, project)


class HotReader:
    """What a decision reads: the newest stored state with too old groups masked, and how old each feed was."""

    def __init__(self, hot: HotStore, allowed: Limits) -> None:
        self._hot, self._allowed = hot, allowed
        self._ages: dict[str, Mapping[str, float]] = {}

    def read(self, instrument: str, now_ns: int) -> StateVector:
        """Everything is masked for an instrument that was never stored; the portfolio group always is."""
        blob = self._hot.get(instrument)
        found = unpack(instrument, blob) if blob is not None else _nothing(instrument)
        self._ages[instrument] = ages(found, now_ns)
        return masked(found, now_ns, self._allowed)

    @property
    def feed_ages(self) -> dict[str, float]:
        """Seconds by group at the last read, the oldest over all instruments that were read."""
        return {
            group: max((each[group] for each in self._ages.values()), default=float("inf"))
            for group in schema.STORED_GROUPS
        }


def _nothing(instrument: str) -> StoredState:
    never = (0,) * len(schema.STORED_GROUPS)
    return StoredState(instrument, never, never, bytes(4 * schema.WIDTH), bytes(schema.WIDTH))
