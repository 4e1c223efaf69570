"""What is known of our orders at a venue: ccxt's orders and trades in, each fact of the port out once and in order.

Messages may come twice, late, out of order, from the stream and from REST: an order's state only moves forward, a fill
is told once by the venue's trade id, and an order is told final only after all of its fills are. Pure: `ccxt_venue`
feeds it. It must never speak of an order that is not ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cryptoai.core.clock import MS
from cryptoai.core.errors import DataError
from cryptoai.core.messages import Fill, Funding, OrderKind, OrderRequest, OrderStatus, OrderUpdate
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.execution.adapters.ccxt_calls import Listed, Paid
from cryptoai.execution.adapters.ccxt_orders import fill_of, liquidation_of, our_id, request_of, status_of
from cryptoai.execution.ports import VenueEvent

__all__ = ["Tracked", "Tracking"]

S = OrderStatus
_PARKED = 1000
_SHARE = Decimal("1E-8")
_REMEMBERED = 10_000
_FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")


@dataclass(slots=True)
class Tracked:
    """One order: `total` is what the venue says is filled, `filled` what was told. `doubt_until` (ns) is how long an
    order that may never have arrived can still arrive; `missing_since` when a fill was first missed."""

    request: OrderRequest
    market: Listed
    exchange_id: str | None = None
    told: OrderStatus = S.SENT
    total: Quantity = field(default_factory=Quantity.zero)
    filled: Quantity = field(default_factory=Quantity.zero)
    ending: tuple[OrderStatus, int, str] | None = None
    fills: set[str] = field(default_factory=set)
    doubt_until: int | None = None
    next_lookup: int = 0
    missing_since: int | None = None
    forced: bool = False
    cancel_asked: bool = False

    @property
    def final(self) -> bool:
        return self.told.final

    @property
    def incomplete(self) -> bool:
        """Whether fills are known to exist that were not told."""
        return self.filled < self.total


class Tracking:
    """All orders of one venue connection, by our ids. `exchange` is ccxt's id of the venue."""

    def __init__(self, exchange: str, symbols: Mapping[str, Listed]) -> None:
        """`symbols` are ccxt's, of the instruments that are traded."""
        self._exchange, self._symbols = exchange, symbols
        self.orders: dict[str, Tracked] = {}
        self._live: dict[str, Tracked] = {}
        self._ended: deque[str] = deque()
        self._by_exchange: dict[str, Tracked] = {}
        self._parked: deque[Mapping[str, Any]] = deque(maxlen=_PARKED)
        self._news: list[VenueEvent] = []
        self._paid: set[str] = set()
        self.unreadable: list[str] = []

    def news(self, now_ns: int) -> list[VenueEvent]:
        """What became known by `now_ns` and was not given yet."""
        known = [event for event in self._news if event.known_at <= now_ns]
        self._news = [event for event in self._news if event.known_at > now_ns]
        return known

    def add(self, request: OrderRequest, market: Listed) -> Tracked:
        """An order that is about to be sent, or was found at the venue; the same id gives the same order."""
        name = request.client_order_id
        if name not in self.orders:
            self.orders[name] = self._live[name] = Tracked(request, market)
        return self.orders[name]

    def live(self) -> list[Tracked]:
        """Orders whose end was not told."""
        return list(self._live.values())

    def forget(self, order: Tracked) -> None:
        """An order that was never sent and that nobody will ask for."""
        self.orders.pop(order.request.client_order_id, None)
        self._live.pop(order.request.client_order_id, None)

    def take_funding(self, instrument: str, paid: Paid, now_ns: int) -> None:
        """A payment of the venue, told once; what it is a share of is the position of now."""
        if paid.number in self._paid:
            return
        self._paid.add(paid.number)
        worth = abs(paid.position * paid.mark)
        share = (paid.amount / worth).quantize(_SHARE) if worth else Decimal(0)
        self._news.append(
            Funding(
                instrument=instrument,
                share=share,
                mark=Price(paid.mark),
                position=Quantity(paid.position),
                amount=Money(paid.amount),
                event_time=paid.time_ms * MS,
                known_at=now_ns,
            )
        )

    def reject(self, order: Tracked, now_ns: int, reason: str) -> None:
        """The venue's or our own word that an order never lived."""
        if not order.final:
            order.doubt_until = None
            self._tell(order, S.REJECTED, now_ns, now_ns, reason)

    def take_order(self, order: Mapping[str, Any], now_ns: int) -> Tracked | None:
        """What the venue says of an order; None if it is not one of ours."""
        known = self._find(order)
        if known is None:
            return None
        try:
            self._take(known, order, now_ns)
        except (ValueError, TypeError, ArithmeticError) as error:
            self.unreadable.append(f"order {known.request.client_order_id}: {error}")
        return known

    def take_trade(self, trade: Mapping[str, Any], now_ns: int) -> None:
        """A trade of ours; one whose order is not known yet waits for it."""
        known = self._by_exchange.get(str(trade.get("order")))
        if known is None:
            self._parked.append(trade)
            return
        try:
            self._fill(known, trade, now_ns)
        except DataError as error:
            self.unreadable.append(str(error))

    def adopt(self, order: Mapping[str, Any], now_ns: int) -> Tracked | None:
        """An order at the venue that this connection did not send; None if it is not in what we trade.

        DataError if it cannot be read.
        """
        market, name = self._symbols.get(str(order.get("symbol"))), self._name(order)
        if market is None or name is None:
            return None
        known = self.add(request_of(order, market.made, name, market.size), market)
        self.take_order(order, now_ns)
        return known

    # ------------------------------------------------------------------ inside

    def _name(self, order: Mapping[str, Any]) -> str | None:
        told = order.get("clientOrderId")
        return our_id(None if told is None else str(told), self._exchange)

    def _find(self, order: Mapping[str, Any]) -> Tracked | None:
        name, number = self._name(order), order.get("id")
        known = self.orders.get(name or "") or self._by_exchange.get(str(number))
        if known is None and (name or "").startswith(_FORCED):
            known = self._forced(order, str(name))
        if known is not None and number is not None and known.exchange_id is None:
            known.exchange_id = str(number)
            self._by_exchange[str(number)] = known
        return known

    def _forced(self, order: Mapping[str, Any], name: str) -> Tracked | None:
        """The venue's own order that closes a position of ours."""
        market = self._symbols.get(str(order.get("symbol")))
        if market is None:
            return None
        try:
            request = request_of({**order, "type": "market"}, market.made, name[:36], market.size)
            known = self.add(request, market)
        except DataError as error:
            self.unreadable.append(str(error))
            return None
        known.forced = True
        return known

    def _take(self, known: Tracked, order: Mapping[str, Any], now_ns: int) -> None:
        known.doubt_until = None
        status = status_of(order)
        time = int(order.get("lastUpdateTimestamp") or order.get("timestamp") or now_ns // MS) * MS
        known.total = max(known.total, Quantity(Decimal(str(order.get("filled") or 0)) * known.market.size))
        if status is S.OPEN and known.told is S.SENT and not known.forced:
            self._tell(known, S.OPEN, time, now_ns)
        elif status is not None and status.final and known.ending is None:
            known.ending = (status, time, "" if status is S.FILLED else str(order.get("status")))
        self._unpark(known, now_ns)
        self._settle(known, now_ns)

    def _unpark(self, known: Tracked, now_ns: int) -> None:
        ours = [trade for trade in self._parked if str(trade.get("order")) == known.exchange_id]
        for trade in ours:
            self._parked.remove(trade)
            self.take_trade(trade, now_ns)

    def _fill(self, known: Tracked, trade: Mapping[str, Any], now_ns: int) -> None:
        fill = fill_of(trade, known.request, known.market.made, now_ns, known.market.size)
        if fill.fill_id in known.fills:
            return
        if not known.forced and known.filled + fill.quantity > known.request.quantity:
            raise DataError(f"trade {fill.fill_id} fills {known.request.client_order_id} beyond its quantity")
        known.fills.add(fill.fill_id)
        known.filled = known.filled + fill.quantity
        known.total, known.doubt_until = max(known.total, known.filled), None
        self._news.append(self._told_fill(known, fill))
        self._settle(known, now_ns)

    @staticmethod
    def _told_fill(known: Tracked, fill: Fill) -> VenueEvent:
        return liquidation_of(fill, "the venue closed the position") if known.forced else fill

    def _settle(self, known: Tracked, now_ns: int) -> None:
        """Tells the end once nothing of it is missing."""
        if known.incomplete:
            known.missing_since = now_ns if known.missing_since is None else known.missing_since
            return
        known.missing_since = None
        if known.filled >= known.request.quantity and known.ending is None:
            known.ending = (S.FILLED, now_ns, "")
        if known.ending is not None and not known.final:
            status, time, reason = self._end_of(known)
            if status is S.FILLED and known.filled < known.request.quantity:
                known.missing_since = now_ns
                return
            if known.forced:
                self._end(known, status)
            else:
                self._tell(known, status, time, now_ns, reason)

    @staticmethod
    def _end_of(known: Tracked) -> tuple[OrderStatus, int, str]:
        """A post-only order that some venues accept and cancel at once never lived: it was rejected."""
        assert known.ending is not None  # noqa: S101 - asked of ended orders only
        status, time, _ = known.ending
        unasked = known.told is S.SENT and not known.filled and not known.cancel_asked
        unborn = unasked and known.request.kind is OrderKind.POST_ONLY
        return (S.REJECTED, time, "post-only: it would take") if status is S.CANCELLED and unborn else known.ending

    def _tell(self, known: Tracked, status: OrderStatus, time: int, now_ns: int, reason: str = "") -> None:
        self._end(known, status)
        update = OrderUpdate(
            client_order_id=known.request.client_order_id,
            instrument=known.request.instrument,
            status=status,
            event_time=time,
            known_at=now_ns,
            reason=reason,
        )
        self._news.append(update)

    def _end(self, known: Tracked, status: OrderStatus) -> None:
        """Takes down the status; of ended orders only the newest are remembered."""
        known.told = status
        if status.final and self._live.pop(known.request.client_order_id, None) is not None:
            self._ended.append(known.request.client_order_id)
        if len(self._ended) > _REMEMBERED:
            old = self.orders.pop(self._ended.popleft())
            self._by_exchange.pop(old.exchange_id or "", None)
