"""The emergency protocol's promises for any order of events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cryptoai.risk_engine.emergency import TABLE, Emergency, Event, Stage
from cryptoai.risk_engine.kill_switch import KillAction

ORDER = list(Stage)
events = st.lists(st.tuples(st.sampled_from(list(Event)), st.sampled_from(list(KillAction))), max_size=60)


def test_every_way_back_is_a_release() -> None:
    """The table alone: RUNNING is reached by RELEASED and by nothing else, from every other stage."""
    back = {(was, event) for (was, event), now in TABLE.items() if now is Stage.RUNNING}
    assert back == {(stage, Event.RELEASED) for stage in Stage if stage is not Stage.RUNNING}


def test_only_news_of_something_left_leads_backward() -> None:
    """Everything but a release and LEFT leads toward HALTED, and LEFT starts again by cancelling."""
    for (was, event), now in TABLE.items():
        if event is Event.LEFT:
            assert now is Stage.CANCELLING
        elif event is not Event.RELEASED:
            assert ORDER.index(now) > ORDER.index(was)


def test_halted_is_reached_through_the_venue_only() -> None:
    """Nobody is told that all is closed before the venue said so."""
    assert [row for row, now in TABLE.items() if now is Stage.HALTED] == [(Stage.VERIFYING, Event.CONFIRMED)]


@given(events)
def test_it_is_latched(happened: list[tuple[Event, KillAction]]) -> None:
    """Once engaged it stays active until a release, whatever else happens, and its action never weakens."""
    state, engaged, strict = Emergency(), False, False
    for event, action in happened:
        state = state.after(event, action)
        engaged = (engaged or event is Event.ENGAGED) and event is not Event.RELEASED
        strict = engaged and (strict or (event is Event.ENGAGED and action is KillAction.FLATTEN))
        assert state.active == engaged
        assert state.flattens == strict
        assert state.keeps == (engaged and not strict)


@given(events)
def test_from_anywhere_it_can_come_to_rest(happened: list[tuple[Event, KillAction]]) -> None:
    """However it got there, an active machine halts once orders are asked for, books clear and the venue confirms."""
    state = Emergency()
    for event, action in happened:
        state = state.after(event, action)
    for event in (Event.ENGAGED, Event.ASKED, Event.CLEAR, Event.CONFIRMED):
        state = state.after(event)
    assert state.stage is Stage.HALTED
