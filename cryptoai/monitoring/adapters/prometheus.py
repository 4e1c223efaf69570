"""Prometheus' text format for `monitoring.metrics`, rendered afresh for each scrape.

Handed to the dashboard by the composition root. No global registry: what is shown is what the journal says now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from cryptoai.monitoring.metrics import Sample

__all__ = ["exposition"]


def exposition(found: Iterable[Sample]) -> tuple[bytes, str]:
    """(body, content type) of GET /metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(list(found)))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Families:
    """A collector over fixed samples."""

    def __init__(self, found: list[Sample]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self._found:
            kind = CounterMetricFamily if sample.kind == "counter" else GaugeMetricFamily
            family = families.setdefault(sample.name, kind(sample.name, sample.help, labels=list(sample.labels)))
            family.add_metric(list(sample.labels.values()), sample.value)
        yield from families.values()
