"""One decision laid out in plain decimals, so that each limit is a line of arithmetic.

Built by the judge from messages; read by the limits. It refuses what does not fit together (another instrument, a quote
from the future, a crossed book) with a DataError, which the judge turns into a denial. It decides nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from cryptoai.core.config import RiskConfig
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import AccountView, Conditions, Proposal, Quote
from cryptoai.core.money import Money

__all__ = ["Context", "Peer", "Situation", "exact", "floor_to_step", "situation"]

ZERO = Decimal(0)
ONE = Decimal(1)
HALF = Decimal("0.5")
BPS = Decimal("0.0001")


class Peer(NamedTuple):
    """Another instrument that is held or being bought.

    `notional` in the settlement currency, signed; `es99_bps` its own tail forecast and `correlation` with the judged
    instrument in [-1, 1], both None while unknown.
    """

    notional: Decimal
    es99_bps: float | None = None
    correlation: float | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What the judge must know beyond the messages; the kernel makes it anew for every decision.

    other_notional: gross notional of all other instruments at their marks, settlement currency; orders_last_minute:
    orders of the last 60 s that added exposure; es99_bps and anomaly: from the inference, None if there was none;
    kill: the switch is engaged; hold: it is, and positions are kept; conditions: of the market, None if unknown; peers:
    the other instruments one by one; cooling: a stop loss closed this instrument a moment ago; open_order: an order of
    this instrument is not final; unreconciled: the venue shows something that the journal does not explain.
    """

    bot: str
    day_start_equity: Money
    other_notional: Money
    orders_last_minute: int = 0
    es99_bps: float | None = None
    anomaly: float | None = None
    alarm: bool = False
    kill: bool = False
    hold: bool = False
    open_order: bool = False
    unreconciled: bool = False
    conditions: Conditions | None = None
    peers: tuple[Peer, ...] = ()
    cooling: bool = False


class Situation(NamedTuple):
    """Signed quantities (base units; contracts if inverse), prices in quote per base, age in seconds.

    Money is in the settlement currency: quote, or base (coin) if inverse. `budget` is the equity that limits take
    shares of, never negative. `face` is the quote value of one inverse contract, None for every other contract. `keep`
    is the largest position on the proposed side that adds nothing to what is held. `together` says of each peer how
    much of its loss comes with a loss of the proposed side, 0 to 1 (unknown: 1).
    """

    limits: RiskConfig
    context: Context
    spot: bool
    current: Decimal
    proposed: Decimal
    keep: Decimal
    mid: Decimal
    face: Decimal | None
    entry: Decimal | None
    equity: Decimal
    budget: Decimal
    peak: Decimal
    age_s: Decimal
    together: tuple[Decimal, ...]

    def units(self, money: Decimal) -> Decimal:
        """The quantity whose notional is `money`, in the settlement currency: money / mid, or money x mid / face."""
        return _units(money, self.mid, self.face)

    def notional(self, quantity: Decimal) -> Decimal:
        """Of an absolute quantity, in the settlement currency."""
        return quantity * self.mid if self.face is None else quantity * self.face / self.mid

    def units_of_quote(self, money: Decimal) -> Decimal:
        """The same for an amount of quote currency: of an inverse contract it does not depend on the price."""
        return money / (self.mid if self.face is None else self.face)

    def shortfall(self, loss_bps: float, sign: Decimal | int) -> Decimal | None:
        """The share of its notional that a position of this sign loses when the price goes `loss_bps` against it.

        That share itself; of an inverse long r / (1 - r), because what is lost in quote is paid in coin worth less (a
        short, which loses r / (1 + r), is given no credit). None if it cannot be told or if all is lost.
        """
        share = exact(loss_bps) * BPS
        if share < 0:
            return None
        if self.face is None or sign < 0:
            return share
        return share / (1 - share) if share < 1 else None


@lru_cache(maxsize=4096)
def exact(number: float) -> Decimal:
    """A configured or inferred float as the decimal that its shortest text says; NaN and infinities are refused."""
    value = Decimal(repr(float(number)))
    if not value.is_finite():
        raise DataError(f"{number!r} is no number that a limit can be computed from")
    return value


def floor_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    """Toward zero to a whole number of steps."""
    return (quantity / step).to_integral_value(rounding="ROUND_DOWN") * step


def situation(
    proposal: Proposal,
    quote: Quote,
    account: AccountView,
    limits: RiskConfig,
    instrument: Instrument,
    context: Context,
) -> Situation:
    """The decision in decimals; DataError if its parts do not belong together."""
    _fit(proposal, quote, account, instrument, context)
    held = account.positions.get(instrument.id)
    entry = account.entry_prices.get(instrument.id)
    mid = (quote.bid.value + quote.ask.value) * HALF
    equity = account.equity.value
    budget = max(equity, ZERO)
    face = instrument.contract_size if instrument.contract is Contract.INVERSE else None
    target = _units(_share(proposal.exposure) * exact(limits.max_position_pct) * budget, mid, face)
    proposed, current = floor_to_step(target, instrument.step), held.value if held is not None else ZERO
    return Situation(
        limits=limits,
        context=context,
        spot=instrument.contract is Contract.SPOT,
        current=current,
        proposed=proposed,
        keep=abs(current) if current * proposed > 0 else ZERO,
        mid=mid,
        face=face,
        entry=entry.value if entry is not None else None,
        equity=equity,
        budget=budget,
        peak=account.peak_equity.value,
        age_s=Decimal(proposal.time - quote.known_at).scaleb(-9),
        together=tuple([_together(peer, proposed > 0) for peer in context.peers]),
    )


def _units(money: Decimal, mid: Decimal, face: Decimal | None) -> Decimal:
    return money / mid if face is None else money * mid / face


def _together(peer: Peer, buying: bool) -> Decimal:
    if peer.correlation is None:
        return ONE
    moves = exact(peer.correlation)
    return min(max(moves if (peer.notional > 0) == buying else -moves, ZERO), ONE)


def _fit(proposal: Proposal, quote: Quote, account: AccountView, instrument: Instrument, context: Context) -> None:
    names = {proposal.instrument, quote.instrument, instrument.id}
    if len(names) != 1:
        raise DataError(f"proposal, quote and instrument differ: {', '.join(sorted(names))}")
    if quote.known_at > proposal.time or account.time > proposal.time:
        raise DataError("the quote or the account is from later than the decision")
    if not ZERO < quote.bid.value <= quote.ask.value:
        raise DataError(f"the quote is not a market: bid {quote.bid}, ask {quote.ask}")
    known = context.conditions
    if known is not None and (known.instrument != instrument.id or known.time > proposal.time):
        raise DataError("the market's conditions are of another instrument or from later than the decision")


def _share(exposure: Decimal) -> Decimal:
    if not -1 <= exposure <= 1:
        raise DataError(f"exposure {exposure} is not a share of the risk budget in [-1, 1]")
    return exposure
