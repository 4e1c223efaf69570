"""What was known of each instrument, and since when: the point-in-time side of the registry.

`cryptoai data assets update` appends what a venue says today; features, backtests and the importer ask for a moment.
A version is never changed or removed: a new tick size is a new version, so that a replay of last year uses last year's.
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, ValidationError

from cryptoai.core.clock import iso
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.asset_registry.packaged import INSTRUMENTS

__all__ = ["Changes", "Registry", "Version"]


class Version(BaseModel):
    """An instrument as `source` described it from `valid_from` (ns) on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    valid_from: int
    source: str
    instrument: Instrument


@dataclass(slots=True)
class Changes:
    """Ids that an update added, changed and found gone."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


class Registry:
    """All versions of all instruments, immutable.

    The first version of an id also speaks for the time before it was first seen, back to its listing: older ticks and
    limits are not published by venues, so that part is an assumption, and `instrument` is exact from `valid_from` on.
    """

    def __init__(self, versions: Iterable[Version]) -> None:
        found: dict[str, list[Version]] = {}
        for version in sorted(versions, key=lambda v: v.valid_from):
            found.setdefault(version.instrument.id, []).append(version)
        self._versions = found

    @classmethod
    def packaged(cls) -> Registry:
        """The instruments that come with the package, valid from the beginning of time."""
        return cls(Version(valid_from=0, source="packaged", instrument=made) for made in INSTRUMENTS.values())

    @classmethod
    def read(cls, path: Path) -> Registry:
        """The packaged instruments, then the versions of a JSON-lines file, if any; `DataError` names a line."""
        versions = [v for held in cls.packaged()._versions.values() for v in held]
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the asset registry {path} cannot be read: {error}") from error
        for number, line in enumerate(text.splitlines(), 1):
            try:
                versions.append(Version.model_validate_json(line))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"]) or "the line"
                raise DataError(f"{path} line {number}: {where}: {first['msg']}; restore the file") from error
        return cls(versions)

    def write(self, path: Path) -> None:
        """All versions but the packaged ones, as JSON lines; the file is replaced whole or not at all."""
        lines = [v.model_dump_json() + "\n" for held in self._versions.values() for v in held if v.source != "packaged"]
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sorted(self._versions))

    def history(self, instrument_id: str) -> tuple[Version, ...]:
        """Every version, oldest first; `DataError` lists what is known."""
        if instrument_id not in self._versions:
            raise DataError(
                f"instrument {instrument_id!r} is not in the registry; known: {', '.join(self.ids) or 'nothing'}"
            )
        return tuple(self._versions[instrument_id])

    def instrument(self, instrument_id: str, at: int | None = None) -> Instrument:
        """The instrument as it was at `at` (ns), or the newest; `DataError` if it was not listed then."""
        versions = self.history(instrument_id)
        if at is None:
            return versions[-1].instrument
        found = _as_of(versions, at)
        if found.listed is not None and at < found.listed:
            raise DataError(
                f"{instrument_id} was not listed before {iso(found.listed)[:19]}; there is none at that time"
            )
        if not found.trades_at(at):
            raise DataError(f"{instrument_id} was delisted at {iso(found.delisted or 0)[:19]}; choose an earlier time")
        return found

    def known(self, at: int | None = None) -> Mapping[str, Instrument]:
        """All instruments by id; with `at`, those that were listed then, as they were."""
        if at is None:
            return MappingProxyType({name: held[-1].instrument for name, held in self._versions.items()})
        then = {name: _as_of(held, at) for name, held in self._versions.items()}
        return MappingProxyType({name: made for name, made in then.items() if made.trades_at(at)})

    def updated(
        self, found: Iterable[Instrument], at: int, source: str, *, complete: frozenset[str] = frozenset()
    ) -> tuple[Registry, Changes]:
        """A registry that also knows what `source` said at `at`, and what that changed; the same again changes nothing.

        `complete` names the venues whose whole list this is: what they no longer list is delisted at `at`. What a
        source does not publish (brackets, tiers, dates) is kept from before. `DataError` if `at` is not the newest.
        """
        changes, added = Changes(), []
        seen = {made.id: made for made in found}
        for made in seen.values():
            version = self._next(made, at, source, changes)
            added += [version] if version else []
        for name, held in self._versions.items():
            last = held[-1].instrument
            if last.venue in complete and name not in seen and last.trades_at(at):
                changes.gone.append(name)
                added.append(Version(valid_from=at, source=source, instrument=_ended(last, at)))
        return Registry([*(v for held in self._versions.values() for v in held), *added]), changes

    def _next(self, made: Instrument, at: int, source: str, changes: Changes) -> Version | None:
        held = self._versions.get(made.id)
        if held is None:
            changes.added.append(made.id)
            return Version(valid_from=at, source=source, instrument=made)
        if held[-1].valid_from > at:
            raise DataError(
                f"{made.id} was already updated at {iso(held[-1].valid_from)}; the clock went back, correct it"
            )
        merged = _merged(held[-1].instrument, made)
        if merged == held[-1].instrument:
            return None
        changes.changed.append(made.id)
        return Version(valid_from=at, source=source, instrument=merged)


def _as_of(versions: list[Version] | tuple[Version, ...], at: int) -> Instrument:
    place = bisect_right(versions, at, key=lambda version: version.valid_from)
    return versions[max(place - 1, 0)].instrument


def _merged(old: Instrument, new: Instrument) -> Instrument:
    """The new description, with the old one's facts where the new one is silent."""
    kept = {name: getattr(old, name) for name in ("brackets", "fee_tiers") if not getattr(new, name)}
    if "brackets" in kept:
        kept["max_leverage"] = max(old.max_leverage, new.max_leverage)
    relisted = old.delisted is not None and new.delisted is None
    listed = [moment for moment in (old.listed, new.listed) if moment is not None]
    first = new.listed if relisted else min(listed, default=None)
    return new.model_copy(update=kept | {"listed": first})


def _ended(made: Instrument, at: int) -> Instrument:
    return made.model_copy(update={"delisted": max(at, (made.listed or 0) + 1)})
