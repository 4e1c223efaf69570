"""A real venue behind the kernel's `Venue` port, through ccxt and ccxt.pro.

The bot's live mode builds one. Orders go out by REST under our own ids; what becomes of them comes by the client's
stream and, wherever that may have lost something (a new connection, a missing fill, an order in doubt, every so many
seconds), by REST as well; both end in one `Tracking`. A timeout is no answer: the order is looked up by its id until
it is found, or until it can no longer arrive. Nothing is ever sent twice. `poll` waits for nobody.

Margin mode and leverage are set and read back before the first order of an instrument. It must never show a key, and
never touch an order that is not the bot's.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import structlog

from cryptoai.core.clock import MS, SECOND
from cryptoai.core.closing import Closing
from cryptoai.core.errors import ConfigError, CryptoAIError, DataError, InvariantError, TransientError, VenueError
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import OrderRequest
from cryptoai.core.money import Quantity
from cryptoai.execution.adapters.ccxt_calls import (
    Listed,
    apply_terms,
    arm_dead_man,
    holdings,
    listed,
    lookup,
    open_orders,
)
from cryptoai.execution.adapters.ccxt_errors import Outcome
from cryptoai.execution.adapters.ccxt_limits import urgent
from cryptoai.execution.adapters.ccxt_link import CallError, Link
from cryptoai.execution.adapters.ccxt_orders import CcxtOrder, order_of, our_id, request_of, unfit, wire_id
from cryptoai.execution.adapters.ccxt_stream import Inbox, Item, Question, UserStream
from cryptoai.execution.adapters.ccxt_tracking import Tracked, Tracking
from cryptoai.execution.ports import VenueEvent
from cryptoai.risk_engine.approved import ApprovedOrder

__all__ = ["CcxtVenue", "Terms"]

_EARLIER_MS = 5_000
"""How much before an order was made its trades are asked for: two clocks differ."""
_LOOKUP = SECOND
_PAYMENTS = 3600 * SECOND
"""How far back an audit asks for funding: an answer may fail for as long."""
_RETRY = SECOND

Call = Callable[[], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Terms:
    """Margin mode and leverage that every instrument gets; seconds between audits, until the venue cancels all unless
    it hears of us (0: never), in which an order in doubt can still arrive, and after which a missing fill is asked for.
    """

    margin_mode: Literal["cross", "isolated"] = "cross"
    leverage: int = 5
    audit_s: float = 30.0
    dead_man_s: float = 0.0
    doubt_s: float = 15.0
    missing_s: float = 2.0


class CcxtVenue(Closing):
    """`execution.ports.Venue`, and more: `amend`, `cancel_all`, `await_news`. Close it when done."""

    def __init__(self, link: Link, instruments: Sequence[Instrument], terms: Terms = Terms()) -> None:
        """Loads the venue's markets and opens the stream; the link is this venue's from now on.

        ConfigError for an instrument that the venue does not list; TransientError or VenueError if it cannot be asked.
        """
        self._link, self._terms = link, terms
        self._client = link.client
        try:
            self._ask(self._client.load_markets, "the venue's markets")
            self._markets = {made.id: self._listed(made) for made in instruments}
        except CryptoAIError:
            link.close()
            raise
        self._by_symbol = {market.symbol: market for market in self._markets.values()}
        self._tracking = Tracking(link.exchange, self._by_symbol)
        self._inbox = Inbox()
        self._stream = UserStream(link, self._inbox)
        self._ready: set[str] = set()
        self._busy, self._must = False, False
        self._next_audit = self._next_dead_man = self._not_before = 0
        self._now = self._began = 0
        self.clock_set = False
        self.trouble = ""
        self._log = structlog.get_logger().bind(venue=link.venue)
        self._stream.start()

    def __repr__(self) -> str:
        return f"CcxtVenue({self._link.venue}, {', '.join(self._markets)})"

    def close(self) -> None:
        """Ends the stream; orders stay where they are."""
        self._link.close()

    @property
    def connected(self) -> bool:
        """Whether the client's stream is there."""
        return self._stream.connected

    @property
    def settled(self) -> bool:
        """Whether nothing is being asked and nothing waits to be asked."""
        return not (self._busy or self._must)

    def await_news(self, seconds: float) -> bool:
        """Whether there is something to poll, after at most so long."""
        return self._inbox.wait(seconds)

    # ------------------------------------------------------------------ the port

    def submit(self, order: ApprovedOrder, now_ns: int) -> None:
        """Sends the order. What the venue says of the order itself, a refusal too, comes by `poll`.

        VenueError: nothing of the kind can be sent. TransientError: it may or may not have arrived, and is looked up.
        """
        request = _unsealed(order)
        market = self._market(request.instrument)
        if request.client_order_id in self._tracking.orders:
            return
        sent = order_of(request, market.symbol, self._link.exchange, contract=market.contract, size=market.size)
        self._prepare(market)
        entry = self._tracking.add(request, market)
        reason = unfit(sent, self._client)
        if reason:
            self._tracking.reject(entry, now_ns, reason)
            return
        self._send(entry, sent, now_ns)

    def cancel(self, client_order_id: str, now_ns: int) -> None:
        """Asks for a cancel. VenueError for an id that the venue does not know, TransientError if it cannot tell."""
        entry = self._tracking.orders.get(client_order_id) or self._found(client_order_id, now_ns)
        if entry.final:
            return
        wire = wire_id(client_order_id, self._link.exchange)
        number, symbol = entry.exchange_id, entry.market.symbol
        params = {} if number else {"clientOrderId": wire}
        entry.cancel_asked = True
        try:
            with urgent():
                told = self._link.call(lambda: self._client.cancel_order(number or "", symbol, params))
        except CallError as error:
            self._not_cancelled(entry, error, now_ns)
        else:
            self._tracking.take_order(told, now_ns)

    def poll(self, now_ns: int) -> Sequence[VenueEvent]:
        """Everything that arrived since the last call; known from now on. Asks what must be asked in the background."""
        self._now = max(self._now, now_ns)
        for item in self._inbox.drain():
            self._take(item, self._now)
        self._care(self._now)
        while self._tracking.unreadable:
            self._log.error("venue_message_unreadable", what=self._tracking.unreadable.pop(0))
        return self._tracking.news(now_ns)

    def positions(self, now_ns: int) -> dict[str, Quantity]:  # noqa: ARG002 - the venue answers as of its own now
        """As the venue has them now."""
        held = self._ask(lambda: holdings(self._client, list(self._markets.values())), "positions")
        return {name: Quantity(amount) for name, amount in held.items() if amount}

    def open_orders(self, now_ns: int) -> list[OrderRequest]:
        """As the venue has them now, of our instruments; those of others too, under their own ids."""
        found = self._ask(lambda: open_orders(self._client, list(self._by_symbol)), "open orders")
        return [self._request(order, now_ns) for order in found]

    # ------------------------------------------------------------------ beyond it

    def prepare(self) -> None:
        """Sets and reads back margin mode and leverage now, rather than before the first order.

        VenueError if the venue says others than it was told.
        """
        for market in self._markets.values():
            self._prepare(market)

    def amend(self, client_order_id: str, order: ApprovedOrder, now_ns: int) -> None:
        """Gives an open order the quantity and price of `order`, in place; it keeps its own id.

        VenueError if it is not open or the venue refuses: what stands then comes by `poll`.
        """
        request, entry = _unsealed(order), self._tracking.orders.get(client_order_id)
        if entry is None or entry.final:
            raise VenueError(f"order {client_order_id} is not open and cannot be amended")
        same = (request.instrument, request.side, request.kind, request.reduce_only)
        old = entry.request
        if same != (old.instrument, old.side, old.kind, old.reduce_only):
            raise VenueError(f"order {client_order_id} can be given another quantity and price only")
        market = entry.market
        if not market.contract:
            raise VenueError(f"order {client_order_id} is spot, where an amended order gets another id; send a new one")
        sent = order_of(request, market.symbol, self._link.exchange, contract=market.contract, size=market.size)
        self._edit(entry, sent)
        entry.request = request.model_copy(update={"client_order_id": client_order_id})
        self._must, self._not_before = True, now_ns

    def cancel_all(self, now_ns: int) -> None:
        """Asks the venue to cancel every order of our instruments; VenueError or TransientError if it does not."""
        for entry in self._tracking.live():
            entry.cancel_asked = True
        for symbol in self._by_symbol:
            try:
                with urgent():
                    self._link.call(lambda symbol=symbol: self._client.cancel_all_orders(symbol))  # type: ignore[misc]
            except CallError as error:
                if error.result is not Outcome.MISSING:
                    raise self._raised(error, f"cancel all of {symbol}") from None
        self._must, self._not_before = True, now_ns

    # ------------------------------------------------------------------ sending

    def _send(self, entry: Tracked, sent: CcxtOrder, now_ns: int) -> None:
        amounts = sent.amount, sent.price
        create = self._client.create_order
        try:
            with urgent() if entry.request.reduce_only else nullcontext():
                told = self._link.call(lambda: create(sent.symbol, sent.type, sent.side, *amounts, sent.params))
        except CallError as error:
            self._not_sent(entry, error, now_ns)
        else:
            wire = wire_id(entry.request.client_order_id, self._link.exchange)
            self._tracking.take_order({"clientOrderId": wire, **_known(told)}, now_ns)

    def _not_sent(self, entry: Tracked, error: CallError, now_ns: int) -> None:
        name = entry.request.client_order_id
        if error.result in (Outcome.REFUSED, Outcome.SAME, Outcome.MISSING):
            self._tracking.reject(entry, now_ns, str(error))
        elif error.result is Outcome.LATER:
            self._tracking.reject(entry, now_ns, f"not sent: {error}")
            self._stream.run(self._set_clock)
        elif error.result is Outcome.STOP:
            self.trouble = str(error)
            self._tracking.forget(entry)
            raise VenueError(f"order {name} was refused, and so would be any other: {error}") from None
        else:
            entry.doubt_until, entry.next_lookup = now_ns + round(self._terms.doubt_s * SECOND), now_ns
            self._care(now_ns)
            raise TransientError(f"order {name} may or may not have arrived, it is looked up: {error}") from None

    def _edit(self, entry: Tracked, sent: CcxtOrder) -> None:
        number, edit = entry.exchange_id or "", self._client.edit_order
        params = {} if number else {"clientOrderId": wire_id(entry.request.client_order_id, self._link.exchange)}
        try:
            self._link.call(lambda: edit(number, sent.symbol, sent.type, sent.side, sent.amount, sent.price, params))
        except CallError as error:
            self._must = True
            raise self._raised(error, f"amending {entry.request.client_order_id}") from None

    def _prepare(self, market: Listed) -> None:
        """Margin mode and leverage, once an instrument; VenueError if the venue says others than it was told."""
        if not market.contract or market.symbol in self._ready:
            return
        terms = self._terms
        work = lambda: apply_terms(self._client, market, terms.margin_mode, terms.leverage)  # noqa: E731
        said = self._ask(work, f"margin mode and leverage of {market.symbol}")
        leverage = {Decimal(str(said[side])) for side in ("longLeverage", "shortLeverage") if said.get(side)}
        mode = said.get("marginMode")
        if leverage != {Decimal(terms.leverage)} or mode not in (None, terms.margin_mode):
            stands = f"{mode} margin and leverage {', '.join(map(str, sorted(leverage)))}"
            wanted = f"{terms.margin_mode} and {terms.leverage}"
            raise VenueError(f"{market.symbol} stands at {stands} after it was set to {wanted}; set it by hand")
        self._ready.add(market.symbol)

    # ------------------------------------------------------------------ looking up

    def _found(self, client_order_id: str, now_ns: int) -> Tracked:
        """An order of before this connection, searched in every instrument."""
        exchange, wire = self._link.exchange, wire_id(client_order_id, self._link.exchange)
        for symbol in self._by_symbol:
            work = lambda symbol=symbol: lookup(self._client, exchange, symbol, wire)  # noqa: E731
            order = self._ask(work, f"order {client_order_id}")
            entry = self._tracking.adopt(order, now_ns) if order is not None else None
            if entry is not None:
                self._must = True
                return entry
        raise VenueError(f"the venue does not know order {client_order_id}")

    def _not_cancelled(self, entry: Tracked, error: CallError, now_ns: int) -> None:
        """Finished meanwhile, never arrived, or unknown: only the venue's own list tells which."""
        name, symbol = entry.request.client_order_id, entry.market.symbol
        if error.result is not Outcome.MISSING:
            raise self._raised(error, f"cancel of {name}") from None
        wire, exchange = wire_id(name, self._link.exchange), self._link.exchange
        found = self._ask(lambda: lookup(self._client, exchange, symbol, wire, entry.exchange_id), f"order {name}")
        if found is not None:
            self._tracking.take_order(found, now_ns)
            self._must = self._must or entry.incomplete
        elif entry.doubt_until is not None and now_ns < entry.doubt_until:
            raise TransientError(f"order {name} is not at the venue and may still arrive") from None
        else:
            raise VenueError(f"the venue does not know order {name}") from None

    def _take(self, item: Item, now_ns: int) -> None:
        kind, what = item
        if kind == "order":
            self._order(what, now_ns)
        elif kind == "trade":
            self._tracking.take_trade(what, now_ns)
        elif kind == "funding":
            name, paid = what
            self._tracking.take_funding(name, paid, now_ns)
        elif kind == "missing":
            self._missing(what, now_ns)
        elif kind == "connected":
            self._must = True
        elif kind == "recovered":
            self._busy = False
            self._must, self._not_before = (self._must, self._not_before) if what else (True, now_ns + _RETRY)
        elif kind == "failed":
            self._failed(what)

    def _order(self, order: Mapping[str, Any], now_ns: int) -> None:
        self._tracking.take_order(order, now_ns)

    def _missing(self, name: str, now_ns: int) -> None:
        """The venue does not have an order that should be there: it cannot arrive any more, or it could not be seen."""
        entry = self._tracking.orders[name]
        if entry.final or entry.exchange_id is not None:
            return
        if entry.doubt_until is None:
            entry.doubt_until = now_ns + round(self._terms.doubt_s * SECOND)
        elif now_ns >= entry.doubt_until:
            self._tracking.reject(entry, now_ns, "it never arrived at the venue")

    def _failed(self, error: CallError) -> None:
        self._log.warning("venue_call_failed", outcome=str(error.result), error=str(error))
        if error.result is Outcome.STOP:
            self.trouble = str(error)

    def _care(self, now_ns: int) -> None:
        """Starts what is due: an audit, a lookup, a search for fills, the dead-man's switch."""
        self._keep_alive(now_ns)
        if self._busy or now_ns < self._not_before:
            return
        live = self._tracking.live()
        doubted = [o for o in live if o.doubt_until is not None and o.next_lookup <= now_ns]
        late = round(self._terms.missing_s * SECOND)
        missed = any(o.missing_since is not None and now_ns - o.missing_since >= late for o in live)
        if not (self._must or doubted or missed or now_ns >= self._next_audit):
            return
        for order in doubted:
            order.next_lookup = now_ns + _LOOKUP
        self._busy, self._must = True, False
        self._stream.ask(self._question(live, now_ns))

    def _question(self, live: list[Tracked], now_ns: int) -> Question:
        since: dict[str, int] = {}
        for order in live:
            symbol, made = order.market.symbol, order.request.time // MS - _EARLIER_MS
            since[symbol] = min(made, since.get(symbol, made))
        exchange = self._link.exchange
        names = [(o.request.client_order_id, o.exchange_id, o.market.symbol) for o in live]
        asked = tuple((name, wire_id(name, exchange), number, symbol) for name, number, symbol in names)
        return Question(asked, tuple(since.items()), self._audit(now_ns))

    def _audit(self, now_ns: int) -> tuple[tuple[Listed, int], ...]:
        """Of which payments an audit asks, if one is due; those from before the first are the past's."""
        if now_ns < self._next_audit:
            return ()
        span = round(self._terms.audit_s * SECOND)
        self._began = self._began or now_ns
        self._next_audit = now_ns + span
        begin = max(self._began, now_ns - _PAYMENTS - 2 * span)
        return tuple((market, begin // MS) for market in self._markets.values() if market.contract)

    def _keep_alive(self, now_ns: int) -> None:
        span = self._terms.dead_man_s
        if not span or now_ns < self._next_dead_man or not self._tracking.live():
            return
        self._next_dead_man = now_ns + round(span * SECOND / 3)
        markets, exchange = list(self._markets.values()), self._link.exchange
        self._stream.run(lambda: arm_dead_man(self._client, exchange, markets, round(1000 * span)))

    # ------------------------------------------------------------------ asking

    def _ask(self, work: Call, what: str) -> Any:
        """The answer; VenueError or TransientError names what was asked."""
        try:
            return self._link.call(work)
        except CallError as error:
            raise self._raised(error, what) from None

    @staticmethod
    def _raised(error: CallError, what: str) -> TransientError | VenueError:
        again = error.result in (Outcome.UNKNOWN, Outcome.LATER)
        return TransientError(f"{what}: {error}") if again else VenueError(f"{what}: {error}")

    async def _set_clock(self) -> None:
        """Learns by how much the venue's clock differs from this machine's."""
        if self._client.has.get("fetchTime"):
            await self._client.load_time_difference()
            self.clock_set = True

    def _listed(self, made: Instrument) -> Listed:
        market = listed(self._client, made)
        if market is None:
            raise ConfigError(f"{self._link.venue} does not list {made.symbol} as a {made.contract} market")
        return market

    def _market(self, instrument: str) -> Listed:
        if instrument not in self._markets:
            raise VenueError(f"{instrument} is not traded here; there is {', '.join(self._markets)}")
        return self._markets[instrument]

    def _request(self, order: Mapping[str, Any], now_ns: int) -> OrderRequest:
        """An order at the venue as a request: ours as it was sent, another's as it can be read."""
        name = our_id(order.get("clientOrderId"), self._link.exchange) or str(order.get("id"))
        known = self._tracking.orders.get(name)
        if known is not None:
            self._tracking.take_order(order, now_ns)
            return known.request
        market = self._by_symbol[str(order["symbol"])]
        try:
            return request_of(order, market.made, name[:36], market.size)
        except DataError as error:
            raise VenueError(f"{error}; close it at the venue by hand") from None


def _known(told: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an answer says; venues that only acknowledge leave the rest to the stream."""
    return {name: value for name, value in (told or {}).items() if value is not None}


def _unsealed(order: ApprovedOrder) -> OrderRequest:
    if type(order) is not ApprovedOrder:
        raise InvariantError(f"a venue takes an ApprovedOrder, not {type(order).__name__}")
    return order.request
