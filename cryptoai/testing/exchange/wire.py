"""Words that the dialects of the local exchange share: refusals with a code, numbers as text, times in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from cryptoai.core.clock import MS
from cryptoai.core.messages import OrderKind
from cryptoai.core.money import Money, Price, Quantity

__all__ = ["IMMEDIATE", "Asked", "WireError", "fixed", "ms", "number", "places"]

Amount = Money | Price | Quantity


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its parameters, the exact text that was signed, its headers (lower case) and when it came (ms)."""

    method: str
    path: str
    params: Mapping[str, str]
    signed: str
    headers: Mapping[str, str]
    came: int


class WireError(Exception):
    """What the venue answers instead: HTTP `status`, its `code` and sentence."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code} {message}")
        self.code, self.message, self.status = code, message, status


def ms(time_ns: int) -> int:
    return time_ns // MS


def number(value: Amount | Decimal) -> str:
    """Plain digits without trailing zeros."""
    text = format(value if isinstance(value, Decimal) else value.value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("", "-0") else text


def fixed(value: Amount | Decimal, decimals: int = 8) -> str:
    """Plain digits with so many decimals."""
    exact = value if isinstance(value, Decimal) else value.value
    return f"{exact:.{decimals}f}"


def places(step: Decimal) -> int:
    """Decimals that a step has: 0.10 has 1."""
    return max(0, -int(step.normalize().as_tuple().exponent))


IMMEDIATE = {OrderKind.IOC: "IOC", OrderKind.FOK: "FOK", OrderKind.POST_ONLY: "GTX"}
