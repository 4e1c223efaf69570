"""A small world around a kernel: a scripted market, the fake venue, a scripted model, a journal on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cryptoai.core.config import Config, build
from cryptoai.core.instruments import Instrument
from cryptoai.core.journal import Journal, Record, read_journal
from cryptoai.core.messages import Inference, Quote
from cryptoai.core.state import StateVector
from cryptoai.execution.kernel import Kernel
from cryptoai.execution.ports import Venue
from cryptoai.risk_engine.kill_switch import KillSwitch
from cryptoai.testing.fakes import FakeMarket, FakeModel, FakeVenue, make_instrument, make_quote

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
INSTRUMENT = make_instrument()
Script = Callable[[StateVector], Inference | float | None]


def prices(*levels: str, every: int = SECOND, size: str = "1000") -> list[Quote]:
    """One quote an interval from START on."""
    return [make_quote(INSTRUMENT, START + n * every, level, size) for n, level in enumerate(levels)]


@dataclass
class World:
    """`run(seconds)` steps the kernel ten times a second up to START + seconds."""

    path: Path
    quotes: Sequence[Quote]
    script: Script = lambda _: 0.5
    overrides: dict[str, Any] = field(default_factory=dict)
    latency: int = 20_000_000
    switch: KillSwitch = field(default_factory=KillSwitch)
    instruments: tuple[Instrument, ...] = (INSTRUMENT,)
    venue: Any = None

    def __post_init__(self) -> None:
        self.market = FakeMarket(self.quotes)
        if self.venue is None:
            self.venue = FakeVenue(self.market, {i.id: i for i in self.instruments}, self.latency)
        self.model = FakeModel(self.script)
        self.journal = Journal(self.path, durable=False)
        self.config: Config = build({"risk": {"depth_share": 1.0}} | self.overrides)
        self.kernel = self._kernel(self.venue)
        self.now = START

    def _kernel(self, venue: Venue) -> Kernel:
        return Kernel(
            bot="bot",
            revision="fake-revision",
            instruments=self.instruments,
            config=self.config,
            market=self.market,
            venue=venue,
            model=self.model,
            journal=self.journal,
            kill_switch=self.switch,
        )

    def run(self, until: float, step: float = 0.1) -> None:
        end = START + int(until * SECOND)
        while self.now <= end:
            self.kernel.step(self.now)
            self.now += int(step * SECOND)

    def restart(self, *, resume: bool = True) -> None:
        """A new process: nothing survives but the journal, the switch and the venue."""
        self.journal.close()
        self.journal = Journal(self.path, durable=False)
        self.kernel = self._kernel(self.venue)
        if resume:
            self.kernel.resume(list(read_journal(self.path)))

    def records(self, *kinds: str) -> list[Record]:
        return [r for r in read_journal(self.path) if not kinds or r.kind in kinds]

    def bodies(self, *kinds: str) -> list[dict[str, Any]]:
        return [r.body for r in self.records(*kinds)]

    def alerts(self) -> list[str]:
        return [body["name"] for body in self.bodies("alert")]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Builds worlds in a folder of the test and closes their journals."""
    made: list[World] = []

    def make(*levels: str, **changes: Any) -> World:
        quotes = changes.pop("quotes", None) or prices(*(levels or ("100",) * 30))
        world = World(tmp_path / f"journal-{len(made)}.jsonl", quotes, **changes)
        made.append(world)
        return world

    yield make
    for one in made:
        one.journal.close()
