"""The judge's promises for any input: it only shrinks, tighter limits never loosen, garbage is denied."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.core.config import ExecutionConfig, RiskConfig
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.core.messages import AccountView, Bound, Conditions, Proposal, Quote, Side, Verdict
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.risk_engine.judge import judge
from cryptoai.risk_engine.limits import drawdown_breach
from cryptoai.risk_engine.pricing import distance_bps
from cryptoai.risk_engine.situation import Context, Peer
from cryptoai.testing.fakes import make_instrument

NOW = 1_700_000_000_000_000_000
INSTRUMENT = make_instrument()
INVERSE = make_instrument(contract=Contract.INVERSE).model_copy(
    update={"step": Decimal(1), "contract_size": Decimal(100)}
)
NAME = INSTRUMENT.id


def amounts(low: int, high: int, places: int = 3) -> st.SearchStrategy[Decimal]:
    return st.decimals(low, high, places=places, allow_nan=False, allow_infinity=False)


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    ticks, width = draw(st.integers(1, 10**7)), draw(st.integers(0, 500))
    age = draw(st.one_of(st.just(0), st.integers(0, 10**10)))
    return Quote(
        instrument=NAME,
        event_time=NOW - age,
        known_at=NOW - age,
        bid=INSTRUMENT.price(ticks),
        ask=INSTRUMENT.price(ticks + width),
        bid_size=Quantity(draw(amounts(0, 1000))),
        ask_size=Quantity(draw(amounts(0, 1000))),
    )


@st.composite
def accounts(draw: st.DrawFn) -> AccountView:
    held = draw(st.one_of(st.just(Decimal(0)), amounts(-50, 50)))
    return AccountView(
        time=NOW,
        equity=Money(draw(amounts(-1000, 10**6))),
        peak_equity=Money(draw(amounts(0, 10**6))),
        cash=Money(draw(amounts(-(10**6), 10**6))),
        positions={NAME: Quantity(held)} if held else {},
        entry_prices={NAME: Price(draw(amounts(0, 10**5, 1)))} if held and draw(st.booleans()) else {},
        open_orders=0,
        last_fill_time=0,
    )


proposals = st.builds(
    Proposal,
    decision=st.integers(0, 10**6),
    time=st.just(NOW),
    instrument=st.just(NAME),
    exposure=amounts(-1, 1, 6),
    leverage=amounts(1, 20, 2),
    urgency=amounts(0, 1, 6),
    state_hash=st.just("s"),
    revision=st.just("r"),
)
odd = st.sampled_from([float("nan"), float("inf")])
conditions = st.builds(
    Conditions,
    instrument=st.just(NAME),
    time=st.just(NOW),
    volatility_bps=st.one_of(st.none(), st.floats(-10, 50_000)),
    turnover=st.one_of(st.none(), st.floats(-1, 1e9)),
    funding_rate=st.one_of(st.none(), st.floats(-0.05, 0.05)),
    funding_in_s=st.one_of(st.none(), st.floats(0, 30_000)),
    event_severity=st.one_of(st.none(), st.floats(0, 1)),
)
peers = st.builds(
    Peer,
    notional=amounts(-(10**6), 10**6),
    es99_bps=st.one_of(st.none(), st.floats(-1, 5_000), odd),
    correlation=st.one_of(st.none(), st.floats(-1, 1), odd),
)
contexts = st.builds(
    Context,
    bot=st.just("b"),
    day_start_equity=amounts(0, 10**6).map(Money),
    other_notional=amounts(0, 10**7).map(Money),
    orders_last_minute=st.integers(0, 120),
    es99_bps=st.one_of(st.none(), st.floats(-10, 20_000), odd),
    anomaly=st.one_of(st.none(), st.floats(0, 3), st.just(float("nan"))),
    alarm=st.booleans(),
    kill=st.booleans(),
    open_order=st.booleans(),
    unreconciled=st.booleans(),
    conditions=st.one_of(st.none(), conditions),
    peers=st.lists(peers, max_size=3).map(tuple),
    cooling=st.booleans(),
)
LIMITS: dict[str, tuple[float, float]] = {
    "max_position_pct": (0.001, 1),
    "max_leverage": (1, 20),
    "stop_loss_pct": (0.001, 0.5),
    "max_drawdown_pct": (0.001, 0.9),
    "max_daily_loss_pct": (0.001, 0.9),
    "price_collar_bps": (0.1, 5000),
    "depth_share": (0.001, 1),
    "max_data_age_s": (0.01, 3600),
    "max_tail_loss_pct": (0.001, 0.5),
    "max_volatility_pct": (0.001, 0.5),
    "volume_share": (0.001, 1),
    "max_portfolio_loss_pct": (0.001, 0.9),
    "max_correlated_pct": (0.001, 20),
    "max_funding_bps": (0, 1000),
    "event_leverage_share": (0, 1),
    "event_severity": (0, 1),
    "stress_leverage_share": (0, 1),
}
SPANS = {"funding_horizon_s": (0.0, 604_800.0)}
limits = st.fixed_dictionaries(
    {name: st.floats(*bounds) for name, bounds in (LIMITS | SPANS).items()}
    | {"max_orders_per_minute": st.integers(1, 100)}
)
executions = st.builds(
    ExecutionConfig,
    order_type=st.sampled_from(["limit", "market", "post_only"]),
    max_slippage_bps=st.floats(0, 1000),
)
made = st.sampled_from([INSTRUMENT, INVERSE])
worlds = st.tuples(proposals, quotes(), accounts(), limits, executions, made, contexts)
World = tuple[Proposal, Quote, AccountView, dict[str, Any], ExecutionConfig, Instrument, Context]


def judged(world: World, **changes: Any) -> tuple[Verdict, ApprovedOrder | None]:
    proposal, quote, account, risk, execution, instrument, context = world
    return judge(proposal, quote, account, RiskConfig(**(risk | changes)), execution, instrument, context)


@given(worlds)
@settings(max_examples=100)
def test_risk_only_shrinks(world: World) -> None:
    """The approved position lies between zero and the proposed one; the order leads toward it and never past it."""
    verdict, order = judged(world)
    assert abs(verdict.approved) <= abs(verdict.proposed)
    assert verdict.approved.value * verdict.proposed.value >= 0
    if order is None:
        assert verdict.order is None
        return
    request = order.request
    after = verdict.current + request.signed
    low, high = sorted([verdict.current, verdict.approved])
    assert low <= after <= high
    assert request.quantity > Quantity.zero()
    assert request.reduce_only == (abs(after) < abs(verdict.current))


@given(worlds)
@settings(max_examples=100)
def test_nothing_is_added_while_it_must_not(world: World) -> None:
    """Kill, alarm, cooldown, out of distribution, stale, drawdown, no forecast: an order can only reduce."""
    _, quote, account, risk, _, _, context = world
    config = RiskConfig(**risk)
    breach = drawdown_breach(account.equity, account.peak_equity, config)
    stale = NOW - quote.known_at > config.max_data_age_s * 10**9
    strange = context.anomaly is not None and not context.anomaly <= 1
    known = context.conditions
    blind = known is None or known.volatility_bps is None or known.turnover is None or context.es99_bps is None
    if context.kill or context.alarm or context.cooling or stale or strange or breach or blind:
        verdict, order = judged(world)
        assert order is None or order.request.reduce_only
        assert abs(verdict.approved) <= abs(verdict.current)


@given(worlds, st.sampled_from([*LIMITS, "max_orders_per_minute"]), st.floats(0, 1))
@settings(max_examples=100)
def test_a_tighter_limit_never_allows_more(world: World, name: str, share: float) -> None:
    """Each limit alone, moved toward its strictest value, leaves the approved position as it is or smaller."""
    low = LIMITS.get(name, (1, 0))[0]
    loose = world[3][name]
    tight = type(loose)(low + (loose - low) * share)
    assert abs(judged(world, **{name: tight})[0].approved) <= abs(judged(world)[0].approved)


@given(worlds, st.floats(0, 1))
@settings(max_examples=100)
def test_a_longer_funding_horizon_never_allows_more(world: World, share: float) -> None:
    """The one limit that is stricter the larger it is."""
    short = world[3]["funding_horizon_s"]
    far = short + (SPANS["funding_horizon_s"][1] - short) * share
    assert abs(judged(world, funding_horizon_s=far)[0].approved) <= abs(judged(world)[0].approved)


@given(worlds)
@settings(max_examples=100)
def test_the_smallest_bound_holds(world: World) -> None:
    """Every bound that is a size allows at least what was approved, and something bound if anything was cut."""
    verdict, _ = judged(world)
    if abs(verdict.approved) < abs(verdict.proposed):
        assert verdict.bounds
    for bound in verdict.bounds:
        if bound.limit in ("max_position", "max_leverage", "event_risk", "stress", "correlated"):
            assert Quantity(bound.allowed) >= abs(verdict.approved)
            assert Quantity(bound.wanted) == abs(verdict.proposed)


@given(worlds)
@settings(max_examples=200)
def test_what_the_order_lacks_is_named(world: World) -> None:
    """Where an order does not go all the way to the approved position, or there is none, a bound says why."""
    verdict, order = judged(world)
    change = abs((verdict.approved - verdict.current).value)
    sent = order.request.quantity.value if order is not None else Decimal(0)
    if change - sent < world[5].step:
        return
    named = {bound.limit for bound in verdict.bounds}
    held_back = {"open_order", "unreconciled", "min_notional", "price_collar", "denied"}
    assert named & (held_back if order is None else set()) or "depth_share" in named


@given(worlds)
@settings(max_examples=100)
def test_the_approved_notional_keeps_its_share_of_equity(world: World) -> None:
    """Counted by the instrument itself, in its settlement currency: position, leverage and concentration."""
    verdict, _ = judged(world)
    equity, risk, made = max(world[2].equity.value, Decimal(0)), world[3], world[5]
    worth = made.notional(world[1].mid, abs(verdict.approved)).value
    room = Decimal(repr(risk["max_leverage"])) * equity - world[6].other_notional.value
    least = min(Decimal(repr(risk["max_position_pct"])) * equity, max(room, Decimal(0)))
    assert worth <= least + Decimal("1E-17")


@given(worlds)
@settings(max_examples=100)
def test_prices_stay_inside_the_collar(world: World) -> None:
    """A limit price is on a tick, within the collar, and a non-urgent one within the slippage cap."""
    _, order = judged(world)
    if order is None or order.request.price is None:
        return
    price, mid = order.request.price, world[1].mid.value
    assert price.value % INSTRUMENT.tick == 0
    assert distance_bps(price.value, mid) <= Decimal(repr(world[3]["price_collar_bps"]))
    if order.request.kind == "limit":
        cap = mid * (1 + order.request.side.sign * Decimal(repr(world[4].max_slippage_bps)) / 10_000)
        assert price.value <= cap if order.request.side is Side.BUY else price.value >= cap


junk: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=3), st.builds(object), st.dictionaries(st.text(), st.none())
)


@given(worlds, st.integers(0, 6), junk)
@settings(max_examples=100)
def test_garbage_never_raises_and_never_trades(world: World, place: int, thing: Any) -> None:
    """One argument is anything at all: the answer is a verdict without an order."""
    proposal, quote, account, risk, execution, instrument, context = world
    arguments: list[Any] = [proposal, quote, account, RiskConfig(**risk), execution, instrument, context]
    arguments[place] = thing
    verdict, order = judge(*arguments)
    assert isinstance(verdict, Verdict)
    assert all(isinstance(b, Bound) for b in verdict.bounds)
    assert order is None
