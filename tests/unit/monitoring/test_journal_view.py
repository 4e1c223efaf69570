"""The fold of a journal: the page's numbers are the journal's numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from cryptoai.core.journal import Record
from cryptoai.core.messages import Severity
from cryptoai.monitoring.journal_view import JournalView
from cryptoai.testing.journals import INSTRUMENT, START_NS, SyntheticRun

Entry = tuple[str, int, dict[str, Any]]


def fold(view: JournalView, *entries: Entry) -> JournalView:
    for kind, time, body in entries:
        view.apply(Record(0, time, kind, body, "", ""))
    return view


def of_kind(entries: list[Entry], kind: str) -> list[dict[str, Any]]:
    return [body for found, _, body in entries if found == kind]


def test_counters_are_the_counts_of_records(view: JournalView, entries: list[Entry]) -> None:
    """Each kind, counted independently."""
    kinds = Counter(kind for kind, _, _ in entries)
    assert view.records == len(entries)
    assert (view.counters["decisions"], view.counters["fills"]) == (kinds["decision"], kinds["fill"])
    assert view.counters["orders"] == kinds["order"]
    assert view.counters["bound"] == sum(bool(body["bounds"]) for body in of_kind(entries, "verdict"))


def test_equity_and_drawdown_follow_the_records(view: JournalView, entries: list[Entry]) -> None:
    """The newest digits, the worst fall, and one point a moment."""
    values = [float(body["equity"]) for body in of_kind(entries, "equity")]
    worst = min(value / max(values[: i + 1]) - 1 for i, value in enumerate(values))
    assert view.equity["equity"] == of_kind(entries, "equity")[-1]["equity"]
    assert view.equity["max_drawdown"] == pytest.approx(worst)
    assert [point[1] for point in view.series["equity"].points] == values


def test_position_is_a_share_of_equity(view: JournalView, entries: list[Entry]) -> None:
    """Signed quantity times mark over equity, at the last record."""
    last = of_kind(entries, "equity")[-1]
    share = float(last["positions"][INSTRUMENT]) * float(last["marks"][INSTRUMENT]) / float(last["equity"])
    assert view.series[f"position/{INSTRUMENT}"].points[-1][2] == pytest.approx(share)
    assert view.series[f"price/{INSTRUMENT}"].points[-1][1] == float(last["marks"][INSTRUMENT])


def test_the_newest_inference_is_shown(view: JournalView, entries: list[Entry]) -> None:
    """Whole, and with its place in the charts; the forecast of the shortest horizon."""
    said = of_kind(entries, "decision")[-1]["inference"]
    assert said.items() <= view.latest[INSTRUMENT].items()
    mean, spread = said["return_bps"]["1s"], said["return_sd_bps"]["1s"]
    assert view.series[f"forecast/{INSTRUMENT}"].points[-1][1:4] == [mean, mean - spread, mean + spread]
    assert len(view.outputs) == 40


def test_decisions_are_newest_first_with_their_verdict(view: JournalView, entries: list[Entry]) -> None:
    """A row joins what was decided with what was judged."""
    rows = view.decisions()
    assert [row["decision"] for row in rows] == list(range(39, -1, -1))
    verdict = of_kind(entries, "verdict")[-1]
    assert (rows[0]["proposed"], rows[0]["approved"]) == (verdict["proposed"], verdict["approved"])


def test_a_delta_is_what_changed_since_the_last(view: JournalView) -> None:
    """Snapshot, then nothing, then only the new."""
    view.delta()
    assert {name: view.delta()[name] for name in ("series", "fills", "decisions", "alerts")} == {
        "series": {},
        "fills": [],
        "decisions": [],
        "alerts": [],
    }
    run = SyntheticRun(number=40)
    fold(view, *run.decide())
    delta = view.delta()
    assert [row["decision"] for row in delta["decisions"]] == [40]
    assert [len(series["points"]) for series in delta["series"].values()] == [1] * len(delta["series"])


def test_a_verdict_alone_resends_its_decision(view: JournalView) -> None:
    """A row that the page has already is sent again once it is judged."""
    decision, verdict, *_ = SyntheticRun(number=40).decide()
    fold(view, decision)
    view.delta()
    (row,) = fold(view, verdict).delta()["decisions"]
    assert row["approved"] == verdict[2]["approved"]


def test_the_kill_switch_shows_until_it_is_released() -> None:
    """Its reason and who pulled it."""
    view = fold(JournalView(), ("kill", START_NS, {"reason": "drawdown", "by": "risk"}))
    assert view.head()["kill"] == {"t": START_NS / 1e9, "reason": "drawdown", "by": "risk"}
    assert fold(view, ("release", START_NS, {"reason": "checked", "by": "ann"})).head()["kill"] is None


def test_safe_actions_are_counted_with_their_reason() -> None:
    """The last reason is kept for the health line."""
    run = SyntheticRun()
    view = fold(JournalView(), run.start(), *run.decide(), *run.decide(safe="the model is gone"))
    head = view.head()
    assert (head["safe_recent"], head["recent"], head["safe_reason"]) == (1, 2, "the model is gone")


def test_an_order_is_followed_to_its_end(view: JournalView, entries: list[Entry]) -> None:
    """Its newest status and reason."""
    last = of_kind(entries, "update")[-1]
    assert view.orders[last["client_order_id"]]["status"] == last["status"]


def test_a_restart_keeps_the_history_and_an_unknown_kind_only_counts(view: JournalView) -> None:
    """The same journal goes on after a restart; a newer version's record does no harm."""
    fold(view, ("end", START_NS, {"decisions": 40, "fills": 1}))
    assert view.head()["ended"]
    fold(view, SyntheticRun(mode="paper").start(), ("novelty", START_NS, {"x": 1}))
    head = view.head()
    assert (head["mode"], head["ended"], head["counters"]["decisions"]) == ("paper", False, 40)


def test_memory_is_bounded() -> None:
    """Lists and series stop growing; the newest stay."""
    run = SyntheticRun()
    view = fold(JournalView(), run.start())
    for _ in range(4_150):
        fold(view, run.alert(Severity.INFO, "x", "y"), *run.decide())
    sizes = [len(view.decisions()), len(view.fills), len(view.alerts), len(view.orders), len(view.outputs)]
    assert all(size <= 4_096 for size in sizes)
    assert max(len(series.points) for series in view.series.values()) <= 4_000
    assert view.decisions()[0]["decision"] == 4_149
