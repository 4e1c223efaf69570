"""The one key to a venue: an order that the judge let pass.

`Venue.submit` takes an `ApprovedOrder` and nothing else, and only `risk_engine.judge` can make one, so that an order
which was not judged is a type error for mypy and an InvariantError at run time (invariant 1). There is no setting, flag
or subclass that opens another way; tests too get theirs from the judge.
"""

from __future__ import annotations

from typing import Any, NoReturn, Self

from cryptoai.core.errors import InvariantError
from cryptoai.core.messages import OrderRequest

__all__ = ["ApprovedOrder"]

_SEAL = object()


class ApprovedOrder:
    """An immutable wrapper around the request that the risk engine approved; equal when the requests are."""

    __slots__ = ("_request", "_seal")
    _request: OrderRequest
    _seal: object

    def __init__(self, request: OrderRequest, *, seal: object = None) -> None:
        if seal is not _SEAL:
            raise InvariantError("an ApprovedOrder is minted by the risk engine only; send a Proposal to judge()")
        if type(request) is not OrderRequest:
            raise InvariantError(f"an ApprovedOrder wraps an OrderRequest, not {type(request).__name__}")
        object.__setattr__(self, "_request", request)
        object.__setattr__(self, "_seal", seal)

    @property
    def request(self) -> OrderRequest:
        """What may be sent; InvariantError if this object did not come from the mint."""
        if getattr(self, "_seal", None) is not _SEAL:
            raise InvariantError("this ApprovedOrder was not minted by the risk engine")
        return self._request

    def __init_subclass__(cls) -> NoReturn:
        raise InvariantError("ApprovedOrder cannot be subclassed")

    def __setattr__(self, name: str, value: object) -> None:
        raise InvariantError("an ApprovedOrder is immutable")

    def __delattr__(self, name: str) -> None:
        raise InvariantError("an ApprovedOrder is immutable")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise InvariantError("an ApprovedOrder does not leave the process that judged it; send the request's body")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApprovedOrder) and self.request == other.request

    def __hash__(self) -> int:
        return hash(self.request.client_order_id)

    def __repr__(self) -> str:
        return f"ApprovedOrder({self.request!r})"


def mint(request: OrderRequest) -> ApprovedOrder:
    """For `risk_engine.judge` alone; an import of this anywhere else fails a test."""
    return ApprovedOrder(request, seal=_SEAL)
