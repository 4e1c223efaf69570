"""What a ccxt error means for an order: refused, unknown, later, missing, unchanged or a reason to stop.

ccxt's classes alone mislead: a 404 is a NetworkError, a refused order an ExchangeError, and which class a code gets
depends on the host in the address. So the venue's own code decides where there is one, the class elsewhere. Whatever
is not known for certain is UNKNOWN: it may have happened, and is looked up, never sent again blindly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from ccxt.base import errors as ccxt_errors

__all__ = ["Outcome", "Scrubber", "code_of", "outcome"]


class Outcome(StrEnum):
    """`REFUSED` did not happen and never will, `LATER` did not happen, `UNKNOWN` may have, `MISSING` there is no such
    order, `SAME` there was nothing to change, `STOP` the key, its rights or our clock must be seen to."""

    REFUSED = "refused"
    LATER = "later"
    UNKNOWN = "unknown"
    MISSING = "missing"
    SAME = "same"
    STOP = "stop"


_CODE = re.compile(r'"(?:code|retCode|sCode)"\s*:\s*"?(-?\d+)')
_BY_CODE = {
    Outcome.REFUSED: (
        *("-1013", "-1111", "-1102", "-1106", "-1115", "-1116", "-1117", "-1121", "-2010", "-2018", "-2019", "-2021"),
        *("-2022", "-2025", "-2027", "-4001", "-4003", "-4005", "-4014", "-4015", "-4016", "-4024", "-4061", "-4116"),
        *("-4120", "-4131", "-4164", "-5021", "-5022", "-5026", "10001", "110007", "110017", "110012", "110094"),
        *("110003", "110072", "170131", "170140", "170141", "170213", "170810"),
    ),
    Outcome.LATER: ("-1003", "-1008", "-1015", "-1021", "10002", "10006", "10018"),
    Outcome.UNKNOWN: ("-1000", "-1001", "-1006", "-1007", "10016", "-5028"),
    Outcome.MISSING: ("-2011", "-2013", "110001", "170213"),
    Outcome.SAME: ("-4046", "-4059", "-5027", "110026", "110043", "110025", "10031"),
    Outcome.STOP: ("-1022", "-2014", "-2015", "10003", "10004", "10005", "10010", "33004"),
}
_CODES = {code: result for result, codes in _BY_CODE.items() for code in codes}
_BY_CLASS: tuple[tuple[type[Exception], Outcome], ...] = (
    (ccxt_errors.OrderNotFound, Outcome.MISSING),
    (ccxt_errors.NoChange, Outcome.SAME),
    (ccxt_errors.DDoSProtection, Outcome.LATER),
    (ccxt_errors.RateLimitExceeded, Outcome.LATER),
    (ccxt_errors.InvalidNonce, Outcome.LATER),
    (ccxt_errors.OnMaintenance, Outcome.LATER),
    (ccxt_errors.OperationFailed, Outcome.UNKNOWN),
    (ccxt_errors.AuthenticationError, Outcome.STOP),
    (ccxt_errors.ManualInteractionNeeded, Outcome.STOP),
    (ccxt_errors.RestrictedLocation, Outcome.STOP),
    (ccxt_errors.InvalidOrder, Outcome.REFUSED),
    (ccxt_errors.InsufficientFunds, Outcome.REFUSED),
    (ccxt_errors.BadRequest, Outcome.REFUSED),
    (ccxt_errors.ArgumentsRequired, Outcome.REFUSED),
    (ccxt_errors.OperationRejected, Outcome.REFUSED),
    (ccxt_errors.NotSupported, Outcome.REFUSED),
)


def code_of(error: BaseException) -> str | None:
    """The venue's own code in the text of an error, None if it has none."""
    found = _CODE.search(str(error))
    return found.group(1) if found and found.group(1) not in ("0", "200") else None


def outcome(error: BaseException) -> Outcome:
    """What happened to a request that ended in `error`; anything not known is UNKNOWN."""
    if isinstance(error, ccxt_errors.DDoSProtection):
        return Outcome.LATER
    known = _CODES.get(code_of(error) or "")
    if known is not None:
        return known
    return next((result for kind, result in _BY_CLASS if isinstance(error, kind)), Outcome.UNKNOWN)


class Scrubber:
    """Takes secrets out of text: `secrets` themselves, and every signature in an address."""

    _SIGNATURE = re.compile(
        r"((?:signature|sign|apiKey|api_key|X-MBX-APIKEY|X-BAPI-SIGN)['\"]?\s*[=:]\s*['\"]?)[\w%+/=.-]+"
    )

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)

    def __repr__(self) -> str:
        return "Scrubber()"

    def clean(self, text: object) -> str:
        """One line without secrets, at most 300 characters."""
        line = " ".join(str(text).split())
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return self._SIGNATURE.sub(r"\1***", line)[:300]
