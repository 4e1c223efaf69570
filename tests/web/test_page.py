"""The page in a real browser: each panel against a known journal, live, reconnecting, in every state and size."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect

from cryptoai.core.clock import ReplayClock
from cryptoai.core.journal import Journal, read_journal
from cryptoai.core.messages import Severity
from cryptoai.core.state import StateVector
from cryptoai.data_universe.schema import SCHEMA_HASH, WIDTH, group_slice
from cryptoai.monitoring.adapters.prometheus import exposition
from cryptoai.monitoring.dashboard import create_app
from cryptoai.monitoring.state_log import StateLog
from cryptoai.testing.journals import INSTRUMENT, SyntheticRun, write_journal

pytestmark = [pytest.mark.web, pytest.mark.timeout(120)]

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
CHARTS = ("equity", "drawdown", "price", "position", "forecast", "risk", "anomaly")
Visits = Callable[..., AbstractContextManager[Any]]
Sites = Callable[..., Any]


@dataclass
class Bot:
    """A bot's files, and what is needed to go on writing them."""

    folder: Path
    run: SyntheticRun

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def app(self) -> Any:
        clock = ReplayClock(self.journal.stat().st_mtime_ns + 4_000_000_000 if self.journal.exists() else 0)
        return create_app(
            self.journal, exposition=exposition, state_log=self.folder / "states.f32", title="CryptoAI", clock=clock
        )

    def go_on(self, decisions: int) -> None:
        write_journal(self.journal, decisions, run=self.run)

    def write(self, *entries: tuple[str, int, dict[str, Any]]) -> None:
        with Journal(self.journal, durable=False) as journal:
            for entry in entries:
                journal.append(*entry)

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        return [record.body for record in read_journal(self.journal) if record.kind == kind]


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    """Two hundred decisions with an alert each of two kinds, and states whose liquidity has moved."""
    made = Bot(tmp_path, SyntheticRun())
    made.go_on(150)
    made.write(made.run.alert(Severity.INFO, "data_gap_closed", "Spot trades are back after a gap of 1.9 s."))
    made.write(*made.run.decide(safe="the model at 127.0.0.1:8080 gave no answer within 0.5 s"))
    made.write(made.run.alert(Severity.WARNING, "model_unavailable", "No answer from the model within 0.5 s."))
    made.go_on(49)
    random = np.random.default_rng(1)
    mask = np.ones(WIDTH, np.bool_)
    mask[group_slice("onchain")] = mask[group_slice("events")] = False
    with StateLog(tmp_path / "states.f32", SCHEMA_HASH, WIDTH) as log:
        for i in range(300):
            values = random.normal(size=WIDTH)
            values[64:80] += 1.5 * (i >= 150)
            log.append(StateVector.of(INSTRUMENT, (i, i), SCHEMA_HASH, values.tolist(), mask.tolist()))
    return made


def ready(page: Any) -> None:
    page.wait_for_selector("#c-price canvas")
    page.wait_for_selector("#decisions tr td.num")


def tile(page: Any, name: str) -> str:
    return str(page.locator(f'.tile:has(span:text-is("{name}")) b').inner_text())


def test_every_panel_shows_the_journal(bot: Bot, site: Sites, visit: Visits) -> None:
    """Figures, charts, alerts, drift, the answer and the decisions, each against the file."""
    served = site(bot.app)
    with visit(served.url) as seen:
        page = seen.page
        ready(page)
        equity = float(bot.bodies("equity")[-1]["equity"])
        assert tile(page, "Equity") == f"{equity:,.2f}"
        assert tile(page, "Decisions") == "200"
        assert tile(page, "Fills") == str(len(bot.bodies("fill")))
        assert page.locator("#mode").inner_text() == "SHADOW"
        assert "1 of the last 20" not in page.locator("#sentence").inner_text()
        assert page.locator("#facts").inner_text().split()[:2] == ["Bot", "btc-shadow"]
        for chart in CHARTS:
            assert page.locator(f"#c-{chart} canvas").count() == 1, chart
            assert inked(page, f"#c-{chart}") > 300, chart
        said = bot.bodies("decision")[-1]["inference"]
        assert f"{said['es99_bps']:.2f}" in page.locator("#s-risk").inner_text()
        assert page.locator("#answer .meter").count() == 8
        levels = page.locator("#drift .row").evaluate_all("rows => rows.map(r => [r.dataset.group, r.dataset.level])")
        assert dict(levels) | {"answers": "any"} == {
            "flow": "steady",
            "liquidity": "drifted",
            "derivatives": "steady",
            "onchain": "blind",
            "events": "blind",
            "asset": "steady",
            "regime": "steady",
            "portfolio": "steady",
            "answers": "any",
        }
        first = page.locator("#decisions tr").first.inner_text()
        assert "№ 199" in first
        assert page.locator("#decisions tr[data-safe]").inner_text().count("Safe action") == 1
        assert "Nothing here promises profit." in page.locator("footer").inner_text()
        assert seen.complaints == []


def inked(page: Any, selector: str) -> int:
    """Pixels of a chart's canvas that are not transparent."""
    count = page.evaluate(
        """(s) => { const c = document.querySelector(s + ' canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }""",
        selector,
    )
    return int(count)


def test_text_of_a_journal_is_never_markup(bot: Bot, site: Sites, visit: Visits) -> None:
    """An alert with a tag in it shows the tag."""
    bot.write(bot.run.alert(Severity.INFO, "markup", "<b>No</b> answer within 0.5 s."))
    with visit(site(bot.app).url) as seen:
        ready(seen.page)
        newest = seen.page.locator("#alerts li p").first
        assert newest.inner_text() == "<b>No</b> answer within 0.5 s."
        assert seen.page.locator("#alerts b").count() == 0


def test_new_records_arrive_by_themselves(bot: Bot, site: Sites, visit: Visits) -> None:
    """No reload: decisions, figures and the health line follow the file."""
    with visit(site(bot.app).url) as seen:
        page = seen.page
        ready(page)
        bot.go_on(3)
        expect(page.locator("#decisions tr").first).to_contain_text("№ 202")
        assert tile(page, "Decisions") == "203"
        bot.write(("kill", bot.run.number, {"reason": "drawdown of 10 %", "by": "risk"}))
        page.wait_for_selector("#health[data-level=critical]")
        assert "drawdown of 10 %" in page.locator("#sentence").inner_text()
        assert seen.complaints == []


def test_a_lost_connection_is_said_and_healed(bot: Bot, site: Sites, visit: Visits) -> None:
    """The page dims, says so, and comes back with what happened meanwhile."""
    served = site(bot.app)
    with visit(served.url) as seen:
        page = seen.page
        ready(page)
        served.stop()
        page.wait_for_selector("body[data-state=lost]")
        assert "connection lost" in page.locator("#link").inner_text()
        bot.go_on(2)
        served.start()
        page.wait_for_selector(".link[data-up=yes]")
        expect(page.locator("#decisions tr").first).to_contain_text("№ 201")


def test_a_new_run_replaces_the_old_one(bot: Bot, site: Sites, visit: Visits) -> None:
    """Another journal under the same name: the page forgets what it showed."""
    with visit(site(bot.app).url) as seen:
        ready(seen.page)
        fresh = bot.folder / "fresh"
        write_journal(fresh, 5, run=SyntheticRun(seed=2, bot="second"))
        fresh.replace(bot.journal)
        expect(seen.page.locator("#facts")).to_contain_text("second")
        assert tile(seen.page, "Decisions") == "5"
        assert seen.page.locator("#decisions tr").count() == 5


def test_before_the_bot_starts_the_page_says_what_it_waits_for(tmp_path: Path, site: Sites, visit: Visits) -> None:
    """Every panel has an empty state; the first records fill them."""
    bot = Bot(tmp_path, SyntheticRun())
    with visit(site(bot.app).url) as seen:
        page = seen.page
        page.wait_for_selector("body[data-state=empty]")
        assert "No journal yet: journal.jsonl" in page.locator("#sentence").inner_text()
        empty = page.locator("#c-equity").evaluate("e => getComputedStyle(e, '::after').content")
        assert "No equity yet" in empty
        assert page.locator("#decisions").inner_text() == "No decision yet."
        bot.go_on(5)
        ready(page)
        assert seen.complaints == []


def test_damage_is_said(bot: Bot, site: Sites, visit: Visits) -> None:
    """A journal that was changed is not trusted, in words."""
    raw = bot.journal.read_bytes()
    bot.journal.write_bytes(raw.replace(b'"decision":50', b'"decision":51', 1))
    with visit(site(bot.app).url) as seen:
        seen.page.wait_for_selector("#health[data-level=critical]")
        assert "cannot be trusted" in seen.page.locator("#sentence").inner_text()


def test_the_keyboard_reaches_everything(bot: Bot, site: Sites, visit: Visits) -> None:
    """Skip link first, then the controls; focus is visible; the theme can be chosen and is remembered."""
    with visit(site(bot.app).url) as seen:
        page = seen.page
        ready(page)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "theme"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        for wanted in ("light", "dark"):
            page.keyboard.press("Enter")
            assert page.evaluate("document.documentElement.dataset.theme") == wanted
        page.reload()
        ready(page)
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        unnamed = page.locator("[role=img]:not([aria-label]):not([aria-labelledby])").count()
        assert unnamed == 0


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("light", 1320, "light"), ("dark", 1320, "dark"), ("phone", 390, "light")]
)
def test_it_fits_and_is_readable(bot: Bot, site: Sites, visit: Visits, name: str, width: int, scheme: str) -> None:
    """No sideways scrolling, text of enough contrast (WCAG AA); the pictures of the documentation come from here."""
    with visit(site(bot.app).url, width=width, scheme=scheme) as seen:
        page = seen.page
        ready(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        for ink in ("--ink", "--soft", "--ok", "--warn", "--bad", "--a", "--b"):
            assert contrast(page, ink, "--paper") >= 4.5, ink
        if os.environ.get("UPDATE_IMAGES"):
            IMAGES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=IMAGES / f"dashboard-{name}.png", full_page=True)


def contrast(page: Any, front: str, back: str) -> float:
    """WCAG 2 contrast ratio of two colour variables."""
    script = "n => getComputedStyle(document.documentElement).getPropertyValue(n).trim()"
    light, dark = sorted((_luminance(page.evaluate(script, name)) for name in (front, back)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_interfaces_agree_with_the_page(bot: Bot, site: Sites) -> None:
    """JSON, Prometheus, protective headers; nothing can be changed."""
    url = site(bot.app).url
    with httpx.Client(base_url=url) as client:
        metrics = client.get("/api/metrics").json()
        assert metrics["counters"]["decisions"] == 200
        assert metrics["health"]["level"] == "ok" or "safe action" in metrics["health"]["sentence"]
        assert len(client.get("/api/decisions").json()) == 200
        assert len(client.get("/api/alerts").json()) == 2
        assert client.get("/api/positions").json()[0]["instrument"] == INSTRUMENT
        assert {order["status"] for order in client.get("/api/orders").json()} == {"filled"}
        assert [g["group"] for g in client.get("/api/drift").json()["groups"]][:2] == ["flow", "liquidity"]
        assert "cryptoai_decisions_total 200.0" in client.get("/metrics").text
        assert client.get("/healthz").json()["status"] == "ok"
        policy = client.get("/").headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert {client.request(verb, "/").status_code for verb in ("POST", "PUT", "DELETE")} == {405}


def test_the_page_asks_nobody_else(bot: Bot) -> None:
    """Every address in what is served is a path of its own, but for comments and XML names."""
    static = Path(create_app.__code__.co_filename).parent / "static"
    for path in (*static.glob("*.html"), *static.glob("*.js"), *static.glob("*.css")):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.findall(r"https?://", text), path.name
    assert "MIT License" in (static / "vendor" / "uPlot.LICENSE").read_text()


def test_a_foreign_page_may_not_listen(bot: Bot, site: Sites) -> None:
    """The stream is closed to another site's script and open to our own."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    url = site(bot.app).url.replace("http", "ws") + "/ws"
    with pytest.raises(InvalidStatus), connect(url, origin="http://evil.example", proxy=None):
        pass
    with connect(url, max_size=None, proxy=None) as socket:
        assert '"type":"snapshot"' in str(socket.recv(5))[:40]
