"""What a venue says of its instruments, through ccxt: market descriptions and leverage brackets become `Instrument`s.

Made by `cryptoai data assets update`. It asks for public descriptions, and for brackets where the venue publishes them
or a key is given; it never trades, and maps every ccxt error. A market that cannot be described exactly is refused with
its reason, never approximated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import ccxt
from ccxt.base.decimal_to_precision import DECIMAL_PLACES, TICK_SIZE
from pydantic import ValidationError

from cryptoai.core.errors import ConfigError, DataError, TransientError, VenueError
from cryptoai.core.instruments import Contract, FeeTier, Instrument, LeverageBracket
from cryptoai.core.money import Money

__all__ = ["CcxtMarkets", "Described", "moved"]

Record = Mapping[str, Any]

_VENUES = {
    ("binance", Contract.SPOT): "binance_spot",
    ("binance", Contract.LINEAR): "binance_usdm",
    ("binance", Contract.INVERSE): "binance_coinm",
}
_NEVER = {0, 4_133_404_800_000}
"""What venues write as the delivery date of a contract that has none."""
_ENDED = {"SETTLING", "CLOSE", "DELIVERING", "DELIVERED", "Settling", "Delivering", "Closed"}
_UNBOUNDED = Decimal(10) ** 18
_MS = 1_000_000
_TYPES = ["spot", "linear", "inverse"]


@dataclass(frozen=True, slots=True)
class Described:
    """What one venue lists, why some of it was refused, and the venue names whose whole list this is."""

    instruments: tuple[Instrument, ...]
    refused: Mapping[str, str]
    complete: frozenset[str]


class CcxtMarkets:
    """One exchange of ccxt, by its ccxt id (`binance`, `bybit`, `okx`, ...). `base_url` replaces its host."""

    def __init__(
        self, exchange: str, *, key: str = "", secret: str = "", base_url: str | None = None, timeout_s: float = 20.0
    ) -> None:
        if exchange not in ccxt.exchanges:
            raise ConfigError(f"ccxt knows no exchange {exchange!r}; give an id such as binance, bybit or okx")
        options = {"fetchMarkets": {"types": _TYPES}, "fetchCurrencies": False, "fetchMargins": False}
        settings = {"apiKey": key, "secret": secret, "timeout": int(timeout_s * 1000), "options": options}
        self._exchange: Any = getattr(ccxt, exchange)(settings)
        if base_url:
            self._exchange.urls["api"] = moved(self._exchange.urls["api"], base_url.rstrip("/"))
        self._name = exchange
        self._has_key = bool(key)

    def describe(self) -> Described:
        """All spot, linear and inverse markets with their brackets.

        Raises `TransientError` if the venue cannot be reached or is busy, `ConfigError` for a key it does not take,
        `VenueError` for anything else it refuses.
        """
        with _mapped(self._name):
            markets = self._exchange.fetch_markets()
            self._exchange.set_markets(markets)
            tiers = self._tiers() if markets else {}
        if not markets:
            raise TransientError(
                f"{self._name} answered without one market; try again, or look at the host", retry_after_s=5
            )
        made: list[Instrument] = []
        refused: dict[str, str] = {}
        for market in markets:
            try:
                found = self._instrument(market, tiers.get(market["symbol"], ()))
            except DataError as error:
                refused[str(market.get("id"))] = str(error)
            else:
                made += [found] if found else []
        return Described(tuple(made), refused, frozenset(one.venue for one in made))

    def _tiers(self) -> dict[str, Sequence[Record]]:
        """Brackets by unified symbol; none where they need a key that is not there."""
        needs_key = self._name.startswith("binance")
        if not self._exchange.has.get("fetchLeverageTiers") or (needs_key and not self._has_key):
            return {}
        found: dict[str, Sequence[Record]] = {}
        for kind in ("linear", "inverse"):
            if any(market.get(kind) for market in self._exchange.markets.values()):
                found |= self._exchange.fetch_leverage_tiers(None, {"subType": kind})
        return found

    def _instrument(self, market: Record, tiers: Sequence[Record]) -> Instrument | None:
        contract = _contract(market)
        if contract is None or str(market["info"].get("status") or market["info"].get("contractStatus")) in _ENDED:
            return None
        try:
            return Instrument.model_validate(self._fields(market, contract, _brackets(tiers)))
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(f"{'.'.join(map(str, first['loc'])) or 'description'}: {first['msg']}") from error

    def _fields(self, market: Record, contract: Contract, brackets: tuple[LeverageBracket, ...]) -> dict[str, object]:
        grid = _grid(market, contract, self._exchange.precisionMode)
        if self._name == "bybit" and contract is Contract.INVERSE:
            grid["contract_size"] = Decimal(1)  # ccxt gives the least order here; a bybit contract is 1 USD
        return {
            "id": f"{self._venue(contract)}:{_symbol(market)}",
            "base": market["base"],
            "quote": market["quote"],
            "contract": contract,
            **grid,
            "maker_fee": _exact(market.get("maker"), "maker fee"),
            "taker_fee": _exact(market.get("taker"), "taker fee"),
            "max_leverage": _leverage(market, brackets),
            "brackets": brackets,
            "fee_tiers": _fee_tiers(market),
            "listed": market["created"] * _MS if market.get("created") else None,
            "delisted": _delisted(market),
        }

    def _venue(self, contract: Contract) -> str:
        return _VENUES.get((self._name, contract), f"{self._name}_{contract.value}")


def moved(urls: Any, base: str) -> Any:
    """The same paths on another host; ccxt writes some hosts as `{hostname}`."""
    if isinstance(urls, dict):
        return {name: moved(url, base) for name, url in urls.items()}
    return re.sub(r"^https?://[^/]+", base, urls) if isinstance(urls, str) else urls


@contextmanager
def _mapped(name: str) -> Iterator[None]:
    try:
        yield
    except ccxt.AuthenticationError as error:
        raise ConfigError(
            f"{name} does not take the API key; correct CRYPTOAI_API_KEY and CRYPTOAI_API_SECRET"
        ) from error
    except ccxt.RateLimitExceeded as error:
        raise TransientError(f"{name} asks for fewer requests; wait a minute", retry_after_s=60) from error
    except ccxt.NetworkError as error:
        raise TransientError(
            f"{name} cannot be reached ({type(error).__name__}); try again", retry_after_s=5
        ) from error
    except ccxt.BaseError as error:
        raise VenueError(f"{name} refused its market descriptions: {str(error)[:300]}") from error


def _contract(market: Record) -> Contract | None:
    """None for what is neither spot, linear nor inverse (options, quanto)."""
    if market.get("spot"):
        return Contract.SPOT
    if market.get("option") or not (market.get("swap") or market.get("future")):
        return None
    return Contract.LINEAR if market.get("linear") else Contract.INVERSE if market.get("inverse") else None


def _symbol(market: Record) -> str:
    name = str(market["id"]).upper().replace("/", "-")
    if not re.fullmatch(r"[A-Z0-9_.\-]+", name):
        raise DataError(f"the symbol {market['id']!r} has letters that an instrument id cannot have")
    return name


def _exact(value: Any, what: str) -> Decimal:
    """A number of ccxt as the digits that the venue wrote; Python's shortest repr of a float gives them back."""
    if value is None:
        raise DataError(f"{what} is not published")
    return Decimal(value if isinstance(value, str) else repr(value))


def _grid(market: Record, contract: Contract, mode: int) -> dict[str, object]:
    """Tick, step, least notional and contract size in the units of `Instrument`."""
    tick = _spacing(market["precision"].get("price"), mode, "tick size")
    lot = _spacing(market["precision"].get("amount"), mode, "lot size")
    size = _exact(market.get("contractSize") or 1, "contract size")
    if contract is Contract.INVERSE:
        least = _exact(market["limits"]["amount"].get("min") or lot, "least quantity")
        return {"tick": tick, "step": lot, "contract_size": size, "min_notional": Money(least * size)}
    cost = _exact(market["limits"]["cost"].get("min") or 0, "least notional")
    return {"tick": tick, "step": lot * size, "min_notional": Money(cost)}


def _spacing(value: Any, mode: int, what: str) -> Decimal:
    """ccxt gives a spacing or a number of decimals, by exchange."""
    if mode == TICK_SIZE:
        return _exact(value, what)
    if mode == DECIMAL_PLACES:
        return Decimal(10) ** -int(_exact(value, what))
    raise DataError(f"{what} is given in significant digits, which is not a grid")


def _leverage(market: Record, brackets: Sequence[LeverageBracket]) -> int:
    """The largest published; 1 where the venue does not say, which can only make a bot smaller."""
    if brackets:
        return brackets[0].max_leverage
    return max(1, int(market["limits"].get("leverage", {}).get("max") or 1))


def _brackets(tiers: Sequence[Record]) -> tuple[LeverageBracket, ...]:
    """Ascending; the amount is the venue's, or what keeps the margin continuous."""
    made: list[LeverageBracket] = []
    rate, amount = Decimal(0), Decimal(0)
    for tier in sorted(tiers, key=lambda found: found["minNotional"] or 0):
        info = tier.get("info", {})
        floor = _exact(tier["minNotional"] or 0, "bracket floor")
        above = _exact(tier["maintenanceMarginRate"], "maintenance rate") * _fraction(info)
        given = info.get("cum", info.get("mmDeduction"))
        amount = _exact(given, "amount") if given not in (None, "") else amount + floor * (above - rate)
        rate = above
        made.append(
            LeverageBracket(
                floor=Money(floor),
                cap=Money(_exact(tier["maxNotional"] or _UNBOUNDED, "bracket cap")),
                max_leverage=int(_exact(tier["maxLeverage"], "leverage")),
                maintenance_rate=rate,
                maintenance_amount=Money(amount),
            )
        )
    return tuple(made)


def _fraction(info: Record) -> Decimal:
    """Bybit writes margins as fractions or, in older answers, as per cent: initial margin x leverage is 1 or 100."""
    if not info.get("initialMargin") or not info.get("maxLeverage"):
        return Decimal(1)
    product = Decimal(str(info["initialMargin"])) * Decimal(str(info["maxLeverage"]))
    return Decimal("0.01") if product > 10 else Decimal(1)


def _fee_tiers(market: Record) -> tuple[FeeTier, ...]:
    """The tiers that ccxt attaches to a market; none where maker and taker do not share their volumes."""
    tiers = market.get("tiers") or {}
    maker, taker = tiers.get("maker") or [], tiers.get("taker") or []
    if [volume for volume, _ in maker] != [volume for volume, _ in taker]:
        return ()
    return tuple(
        FeeTier(volume=Money(_exact(volume, "volume")), maker=_exact(m, "maker fee"), taker=_exact(t, "taker fee"))
        for (volume, m), (_, t) in zip(maker, taker, strict=True)
    )


def _delisted(market: Record) -> int | None:
    """Expiry of a dated contract, or the day that the venue announced for a perpetual."""
    info = market["info"]
    announced = market.get("expiry") or info.get("deliveryDate") or info.get("deliveryTime") or 0
    moment = int(announced)
    return None if moment in _NEVER else moment * _MS
