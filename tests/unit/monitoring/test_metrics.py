"""Prometheus: the format parses, names and units are right, and the numbers are the view's."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cryptoai.monitoring.adapters.prometheus import exposition
from cryptoai.monitoring.health import Source
from cryptoai.monitoring.journal_view import JournalView
from cryptoai.monitoring.metrics import samples
from cryptoai.testing.journals import INSTRUMENT

NOW = 2_000_000_000_000
SOURCE = Source("j", True, 5, 5, NOW - 3_000_000_000)
DRIFT = {"groups": [{"group": "flow", "share": 0.25}, {"group": "asset", "share": 0.0}]}


def scrape(view: JournalView, source: Source = SOURCE) -> dict[tuple[str, tuple[str, ...]], float]:
    body, kind = exposition(samples(view, DRIFT, source, NOW))
    assert kind.startswith("text/plain")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_the_numbers_are_the_views(view: JournalView) -> None:
    """Counters, money, position, tail loss in ratios, ages in seconds."""
    found = scrape(view)
    assert found["cryptoai_decisions_total", ()] == 40
    assert found["cryptoai_fills_total", ()] == view.counters["fills"]
    assert found["cryptoai_equity_quote", ()] == float(view.equity["equity"])
    assert found["cryptoai_position_base", (INSTRUMENT,)] == float(view.equity["positions"][INSTRUMENT])
    assert found["cryptoai_tail_loss_ratio", (INSTRUMENT,)] == view.latest[INSTRUMENT]["es99_bps"] * 1e-4
    assert found["cryptoai_journal_age_seconds", ()] == 3.0
    assert found["cryptoai_drift_ratio", ("flow",)] == 0.25
    assert found["cryptoai_kill_switch_engaged", ()] == 0
    assert ("cryptoai_bot_info", ("btc-shadow", "shadow", view.start["revision"])) in found


def test_a_bot_that_is_not_there_is_visible() -> None:
    """An alert rule can tell silence from health."""
    found = scrape(JournalView(), Source("j"))
    assert found["cryptoai_journal_healthy", ()] == 0
    assert found["cryptoai_decisions_total", ()] == 0
    assert ("cryptoai_equity_quote", ()) not in found
