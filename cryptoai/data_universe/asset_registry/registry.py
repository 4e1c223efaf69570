"""The instruments that the project knows, and how a name on the command line becomes one.

The importer, the commands and the tests ask here; more instruments come from a JSON file (`load`).
What changes with time is in `history.Registry`. Never guesses: an unknown name is an error that lists what there is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.data_universe.asset_registry.history import Registry
from cryptoai.data_universe.asset_registry.packaged import INSTRUMENTS

__all__ = ["INSTRUMENTS", "REGISTRY_FILE", "Resolved", "instrument", "load", "of_lake", "resolve"]

REGISTRY_FILE = "registry.jsonl"
"""Where in the lake the versions are kept."""

_PREFERENCE = (Contract.LINEAR, Contract.INVERSE, Contract.SPOT)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an asset name means: the instrument that is traded and, where it has data, its spot companion (basis)."""

    traded: Instrument
    companion: Instrument | None


def instrument(instrument_id: str, known: Mapping[str, Instrument] = INSTRUMENTS) -> Instrument:
    """The instrument of an id such as `binance_usdm:BTCUSDT`; `DataError` lists what is known."""
    if instrument_id not in known:
        raise DataError(f"instrument {instrument_id!r} is not in the registry; known: {_listed(known)}")
    return known[instrument_id]


def of_lake(lake: Path) -> Registry:
    """The registry of a lake: the packaged instruments and every version recorded beside its facts."""
    return Registry.read(lake / REGISTRY_FILE)


def resolve(asset: str, available: Iterable[str], known: Mapping[str, Instrument] = INSTRUMENTS) -> Resolved:
    """A name from the command line -> what is traded, among the instruments that have data.

    `asset` is a symbol (`BTCUSDT`: the perpetual first, spot only where there is no perpetual) or a full id
    (`binance_spot:BTCUSDT`); upper or lower case. `available` are ids that have data (`lake.available`).
    Raises `DataError` that names the asset and lists what there is.
    """
    ids = sorted(set(available))
    wanted = asset.strip()
    matches = [instrument(i, known) for i in ids if wanted.lower() in (i.lower(), i.split(":", 1)[-1].lower())]
    if not matches:
        raise DataError(
            f"asset {asset!r} has no data; there is: {_listed(ids)}. Import a capture of it with `cryptoai data import`"
        )
    traded = min(matches, key=lambda found: (_PREFERENCE.index(found.contract), found.id))
    return Resolved(traded, _companion(traded, [instrument(i, known) for i in ids if i in known]))


def load(path: Path, known: Mapping[str, Instrument] = INSTRUMENTS) -> Mapping[str, Instrument]:
    """`known` plus the instruments of a JSON file: a list of objects with the fields of `core.instruments.Instrument`.

    Raises `DataError` naming the file and the field; an id that `known` already has is replaced (fees differ by user).
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        found = TypeAdapter(list[Instrument]).validate_python(listed)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"instrument file {path} cannot be read as JSON: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        raise DataError(f"instrument file {path}: {where}: {first['msg']}") from error
    return MappingProxyType({**known, **{made.id: made for made in found}})


def _companion(traded: Instrument, there: list[Instrument]) -> Instrument | None:
    if traded.contract is Contract.SPOT:
        return None
    pairs = (i for i in there if i.contract is Contract.SPOT and (i.base, i.quote) == (traded.base, traded.quote))
    return next(pairs, None)


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(sorted(ids)) or "nothing"
