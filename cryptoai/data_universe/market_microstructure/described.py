"""Which instruments a recording holds, and their tick and step: from the registry, or from what the recording brings.

The import command asks `instruments_of`. A capture's NAME.0 file, a start line of our recorder or a user's --tick and
--step describe what the registry does not know; fees are then those the file states, else zero. Never guesses a tick.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from math import gcd
from pathlib import Path
from typing import Any

import orjson

from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.money import Money
from cryptoai.data_universe.market_microstructure.formats import (
    ConnectionCapture,
    Envelope,
    RawCapture,
    Source,
    TardisCapture,
    open_source,
)
from cryptoai.data_universe.market_microstructure.messages import Break, Count, Depth, Ignored, Item, Trade, native
from cryptoai.data_universe.market_microstructure.recording import MARK, started
from cryptoai.data_universe.market_microstructure.venues.catalog import CAPTURE_NAMES, dialect

__all__ = ["Grid", "began", "described", "instruments_of"]

_LOOK = 20_000
"""Lines of a raw capture that are looked at to name its venue and symbols."""

_UNIT = Decimal("1e-12")
_NO_UNITS = (0, 0)
Units = tuple[int, int]
"""Of prices and of quantities, in `_UNIT`; 0 if there were none."""


@dataclass(frozen=True, slots=True)
class Grid:
    """What a user says of an instrument that nothing else describes."""

    tick: Decimal
    step: Decimal


def instruments_of(
    path: Path, known: Mapping[str, Instrument], wanted: str | None = None, grid: Grid | None = None
) -> tuple[str, list[Instrument]]:
    """(form of the recording, its instruments in order of id): those with messages, or only `wanted` (an id).

    `DataError` if a tick or step is nowhere to be found, or the recording is of no known form.
    """
    source = open_source(path)
    brought = _brought(source)
    units = _named(source, brought) if not wanted or (wanted in brought and wanted not in known) else {}
    ids = [wanted] if wanted else sorted(units)
    if not ids:
        raise DataError(
            f"{path} ({source.form}) has no message that names an instrument; give --instrument venue:SYMBOL"
        )
    if isinstance(source, TardisCapture) and source.table.only_facts:
        brought = {each: _made(each, ("", ""), Contract.SPOT, (_UNIT, _UNIT)) for each in ids}
    found = {**{name: _refined(made, units.get(name, _NO_UNITS)) for name, made in brought.items()}, **known}
    return source.form, [described(each, found, grid) for each in ids]


def began(path: Path) -> int | None:
    """Local time in ns of the first line that has one; None if none of the first lines does."""
    return next((each.local for each in islice(open_source(path).envelopes(), _LOOK) if each.local > 0), None)


def described(name: str, known: Mapping[str, Instrument], grid: Grid | None) -> Instrument:
    """The instrument of an id, or what a user says of it; `DataError` if nothing describes it."""
    if grid is not None:
        made = known.get(name) or _made(name, ("", ""), Contract.SPOT, (grid.tick, grid.step))
        return made.model_copy(update={"tick": grid.tick, "step": grid.step})
    if name not in known:
        raise DataError(f"nothing describes {name}; give its --tick and --step (the registry and the file do not)")
    return known[name]


def _brought(source: Source) -> dict[str, Instrument]:
    """What the recording itself says of instruments, by id."""
    if isinstance(source, RawCapture):
        start = started(source.file.first_line())
        return {made.id: made for made in start.instruments} if start else {}
    if isinstance(source, ConnectionCapture) and source.info:
        venue = CAPTURE_NAMES[source.name.upper()]
        read = _READERS.get(venue.split("_", 1)[0])
        found = read(venue, _info(source.info)) if read else []
        return {made.id: made for made in found}
    return {}


def _refined(made: Instrument, units: Units) -> Instrument:
    """A file describes an instrument at one moment; orders of before may be finer, and no row shall be lost to that."""
    tick, step = (gcd(int(grid / _UNIT), unit) for grid, unit in zip((made.tick, made.step), units, strict=True))
    return made.model_copy(update={"tick": (tick * _UNIT).normalize(), "step": (step * _UNIT).normalize()})


def _named(source: Source, brought: Mapping[str, Instrument]) -> dict[str, Units]:
    """Ids of the instruments that have messages in the recording, and the units of their prices and quantities."""
    if isinstance(source, RawCapture) and brought:
        return dict.fromkeys(brought, _NO_UNITS)
    if isinstance(source, TardisCapture):
        exchange, symbol = source.table.venue()
        return {f"{_tardis_venue(exchange)}:{native(symbol)}": _NO_UNITS}
    if isinstance(source, ConnectionCapture):
        venue = CAPTURE_NAMES[source.name.upper()]
        return {f"{venue}:{symbol}": units for symbol, units in _symbols(venue, source.envelopes()).items()}
    venue = _raw_venue(source)
    return {f"{venue}:{symbol}": _NO_UNITS for symbol in _symbols(venue, islice(source.envelopes(), _LOOK))}


def _tardis_venue(exchange: str) -> str:
    """`binance-futures` is binance_usdm; `DataError` for an exchange that is not decoded."""
    named = {"binance": "binance_spot", "binance-futures": "binance_usdm", "binance-delivery": "binance_coinm"}
    venue = named.get(exchange, exchange.replace("-", "_"))
    dialect(venue)
    return venue


def _raw_venue(source: Source) -> str:
    """Binance's products by their depth updates: COIN-M says `ps`, futures say `pu`."""
    for envelope in islice(source.envelopes(), _LOOK):
        message = _json(envelope)
        body = message.get("data", message) if isinstance(message, dict) else {}
        if isinstance(body, dict) and body.get("e") == "depthUpdate":
            return "binance_coinm" if "ps" in body else "binance_usdm" if "pu" in body else "binance_spot"
    raise DataError(f"{source.path} does not tell its venue; give --instrument venue:SYMBOL")


def _symbols(venue: str, envelopes: Iterable[Envelope]) -> dict[str, Units]:
    """Symbols that have messages, with the greatest units that every price and quantity is a multiple of."""
    decoder, found = dialect(venue).decoder, dict[str, Units]()
    for envelope in envelopes:
        message = _json(envelope)
        if message is None or (isinstance(message, dict) and MARK in message):
            continue
        try:
            for item in decoder.decode(message, envelope.hint):
                if not isinstance(item, Ignored | Count | Break) and item.symbol:
                    found[native(item.symbol)] = _units(item, found.get(native(item.symbol), _NO_UNITS))
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            continue
    return found


def _units(item: Item, before: Units) -> Units:
    pairs = [[item.price, item.qty]] if isinstance(item, Trade) else []
    pairs = [*item.bids, *item.asks] if isinstance(item, Depth) else pairs
    price, qty = before
    for level in pairs:
        price, qty = gcd(price, int(Decimal(level[0]) / _UNIT)), gcd(qty, int(Decimal(level[1]) / _UNIT))
    return price, qty


def _json(envelope: Envelope) -> Any:
    try:
        return orjson.loads(envelope.body) if isinstance(envelope.body, bytes) else None
    except orjson.JSONDecodeError:
        return None


def _info(path: Path) -> list[Any]:
    """The REST replies of an instrument file."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        bodies = [line.partition(b": ")[2] for line in lines if b" -> " in line[:512]]
    try:
        return [orjson.loads(body) for body in bodies]
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path} is no instrument file of a capture ({error})") from error


Pair = tuple[str, str]


def _made(
    name: str, pair: Pair, contract: Contract, grid: tuple[Decimal, Decimal], fees: Pair = ("0", "0")
) -> Instrument:
    return Instrument(
        id=name,
        base=pair[0],
        quote=pair[1],
        contract=contract,
        tick=grid[0],
        step=grid[1],
        min_notional=Money("0"),
        maker_fee=Decimal(fees[0]),
        taker_fee=Decimal(fees[1]),
        max_leverage=1,
    )


def _grid(tick: str | float, step: str | float) -> tuple[Decimal, Decimal]:
    return Decimal(str(tick)), Decimal(str(step))


def _binance(venue: str, bodies: list[Any]) -> list[Instrument]:
    return [_binance_row(venue, row) for body in bodies for row in body.get("symbols", [])]


def _binance_row(venue: str, row: dict[str, Any]) -> Instrument:
    contracts = {"binance_usdm": Contract.LINEAR, "binance_coinm": Contract.INVERSE}
    filters = {each["filterType"]: each for each in row["filters"]}
    grid = _grid(filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"])
    pair = (row["baseAsset"], row["quoteAsset"])
    return _made(f"{venue}:{native(row['symbol'])}", pair, contracts.get(venue, Contract.SPOT), grid)


def _bybit(venue: str, bodies: list[Any]) -> list[Instrument]:
    rows = [row for body in bodies for row in _listed(body["result"])]
    return [_bybit_row(venue, row) for row in rows]


def _listed(result: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result if isinstance(result, list) else result["list"]
    return found


def _bybit_row(venue: str, row: dict[str, Any]) -> Instrument:
    if "price_filter" in row:
        contract = Contract.INVERSE if row["quote_currency"] == "USD" else Contract.LINEAR
        grid = _grid(row["price_filter"]["tick_size"], row["lot_size_filter"]["qty_step"])
        fees = (row["maker_fee"], row["taker_fee"])
        return _made(f"{venue}:{row['name']}", (row["base_currency"], row["quote_currency"]), contract, grid, fees)
    lot = row["lotSizeFilter"]
    grid = _grid(row["priceFilter"]["tickSize"], lot.get("qtyStep") or lot["basePrecision"])
    kind = row.get("contractType", "")
    contract = Contract.INVERSE if "Inverse" in kind else Contract.LINEAR if kind else Contract.SPOT
    return _made(f"{venue}:{row['symbol']}", (row["baseCoin"], row["quoteCoin"]), contract, grid)


def _okx(venue: str, bodies: list[Any]) -> list[Instrument]:
    return [_okx_row(venue, row) for body in bodies for row in body["data"] if row.get("tickSz") and row.get("lotSz")]


def _okx_row(venue: str, row: dict[str, Any]) -> Instrument:
    contracts = {"linear": Contract.LINEAR, "inverse": Contract.INVERSE}
    base, _, rest = row["instId"].partition("-")
    pair, grid = (base, rest.partition("-")[0]), _grid(row["tickSz"], row["lotSz"])
    return _made(f"{venue}:{native(row['instId'])}", pair, contracts.get(row.get("ctType", ""), Contract.SPOT), grid)


def _coinbase(venue: str, bodies: list[Any]) -> list[Instrument]:
    rows = [row for body in bodies for row in (body if isinstance(body, list) else body["products"])]
    return [_coinbase_row(venue, row) for row in rows]


def _coinbase_row(venue: str, row: dict[str, Any]) -> Instrument:
    """`price_increment` and `product_id` are the Advanced Trade names."""
    pair = (row.get("base_currency") or row["base_currency_id"], row.get("quote_currency") or row["quote_currency_id"])
    grid = _grid(row.get("price_increment") or row["quote_increment"], row["base_increment"])
    return _made(f"{venue}:{native(row.get('id') or row['product_id'])}", pair, Contract.SPOT, grid)


def _kraken(venue: str, bodies: list[Any]) -> list[Instrument]:
    rows = [row for body in bodies for row in body["result"].values() if "wsname" in row]
    return [_kraken_row(venue, row) for row in rows]


def _kraken_row(venue: str, row: dict[str, Any]) -> Instrument:
    base, _, quote = row["wsname"].partition("/")
    grid = (Decimal(1).scaleb(-int(row["pair_decimals"])), Decimal(1).scaleb(-int(row["lot_decimals"])))
    return _made(f"{venue}:{native(row['wsname'])}", (base, quote), Contract.SPOT, grid)


_READERS: Mapping[str, Callable[[str, list[Any]], list[Instrument]]] = {
    "binance": _binance,
    "bybit": _bybit,
    "okx": _okx,
    "coinbase": _coinbase,
    "kraken": _kraken,
}
