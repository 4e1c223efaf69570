"""The whole loop, once, on the real tape: facts of what it wrote, not that it wrote something."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cryptoai.core.bundle import verify_bundle
from cryptoai.core.journal import Record, read_journal
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.events import ASK, BID
from cryptoai.data_universe.lake import read_events
from cryptoai.data_universe.market_microstructure.book import Book

ROOT = Path(__file__).resolve().parents[2]
TAPES = Path(str(files("cryptoai.testing"))) / "tapes"
PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"
FILES = {PERP: "binance_usdm_btcusdt_20240808.gz", SPOT: "binance_spot_btcusdt_20240808.gz"}
CHROMIUM = Path("/usr/bin/chromium")

pytestmark = pytest.mark.timeout(400)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@dataclass
class Demo:
    """A finished `cryptoai demo --once`."""

    out: Path
    text: str

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "summary.json").read_text())
        return found

    def records(self, kind: str) -> list[Record]:
        return [record for record in read_journal(self.out / "journal.jsonl") if record.kind == kind]


def command(out: Path, ports: list[int], *more: str) -> list[str]:
    settings = ["--set", f"serving.port={ports[0]}", "--set", f"dashboard.port={ports[1]}"]
    return [sys.executable, "-m", "cryptoai.cli", "demo", "--out", str(out), *settings, *more]


def left_behind(out: Path) -> list[str]:
    """Processes that still work for a demo in `out`."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = " ".join(process.info["cmdline"] or []) + " ".join((process.info["environ"] or {}).values())
        if str(out) in words and process.pid != os.getpid():
            found.append(words[:200])
    return found


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    out = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        command(out, free_ports(2), "--once"), capture_output=True, text=True, timeout=380, check=False, cwd=out
    )
    assert done.returncode == 0, done.stderr
    return Demo(out, done.stdout)


@pytest.mark.parametrize("name", [PERP, SPOT])
def test_every_line_of_the_file_is_accounted_for(demo: Demo, name: str) -> None:
    """Lines of the capture = messages kept + lines refused, and rows in the lake = rows in the report."""
    with gzip.open(TAPES / FILES[name]) as lines:
        counted = sum(1 for _ in lines)
    (report,) = [report for report in demo.summary["imports"] if report["instrument"] == name]

    assert report["lines"] == counted
    assert sum(report["messages"].values()) + sum(report["quarantined_lines"].values()) == counted
    assert sum(report["rows"].values()) == len(read_events(demo.out / "lake", instrument(name)))


def test_the_clock_error_of_the_capture_is_reported(demo: Demo) -> None:
    """1.272 s, as measured by others on the same capture."""
    assert demo.summary["imports"][0]["clock_error_ns"] == pytest.approx(1.272e9, abs=1e6)


def test_the_final_book_equals_an_independent_replay(demo: Demo) -> None:
    """Ten lines over the raw file give the same book, level by level."""
    with gzip.open(TAPES / FILES[PERP]) as lines:
        parsed = [json.loads(line.split(b" ", 1)[1]) for line in lines]
    (snapshot,) = [raw for raw in parsed if "lastUpdateId" in raw]
    depth = [raw["data"] for raw in parsed if "data" in raw and raw["data"]["e"] == "depthUpdate"]
    book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    for update in depth:
        if update["u"] >= snapshot["lastUpdateId"]:
            for side in ("b", "a"):
                book[side].update(update[side])
    made = instrument(PERP)
    ours = Book()
    ours.apply(read_events(demo.out / "lake", made))
    for side, levels in ((BID, book["b"]), (ASK, book["a"])):
        prices, quantities = ours.top(side, ours.count(side))
        got = {made.price(int(p)).value: made.quantity(int(q)).value for p, q in zip(prices, quantities, strict=True)}
        assert got == {Decimal(price): Decimal(quantity) for price, quantity in levels.items() if Decimal(quantity)}


def test_equity_is_cash_plus_positions_at_every_event(demo: Demo) -> None:
    """To the last decimal, and cash is the start, less what was bought, plus what was sold, less fees, plus funding."""
    cash, fees, position = Decimal(100_000), Decimal(0), Decimal(0)
    for record in read_journal(demo.out / "journal.jsonl"):
        body = record.body
        if record.kind == "fill":
            signed = Decimal(body["quantity"]) * (1 if body["side"] == "buy" else -1)
            cash -= signed * Decimal(body["price"]) + Decimal(body["fee"])
            fees, position = fees + Decimal(body["fee"]), position + signed
        if record.kind == "funding":
            cash += Decimal(body["amount"])
        if record.kind == "equity":
            held = sum(Decimal(q) * Decimal(body["marks"][name]) for name, q in body["positions"].items())
            assert Decimal(body["equity"]) == Decimal(body["cash"]) + held
            assert (Decimal(body["cash"]), Decimal(body["fees"])) == (cash, fees)
            assert sum((Decimal(q) for q in body["positions"].values()), Decimal(0)) == position


def test_every_order_has_its_verdict_and_its_state(demo: Demo) -> None:
    """The order is the one that the judge let pass, of a decision whose state hash is in the journal."""
    verdicts = {record.body["decision"]: record.body for record in demo.records("verdict")}
    decisions = {record.body["decision"]: record.body for record in demo.records("decision")}
    orders = demo.records("order")

    assert orders, "the demo's bot must trade, or this proves nothing"
    for order in orders:
        number = order.body["decision"]
        assert verdicts[number]["order"] == order.body
        assert re.fullmatch(r"[0-9a-f]{32}", decisions[number]["state_hash"])
        assert abs(Decimal(verdicts[number]["approved"])) <= max(
            abs(Decimal(verdicts[number]["proposed"])), abs(Decimal(verdicts[number]["current"]))
        )


def test_the_server_answered_every_decision(demo: Demo) -> None:
    """Each decision carries an inference of the packaged bundle."""
    revision = verify_bundle(demo.out / "bundle").revision
    decisions = demo.records("decision")

    assert len(decisions) > 100
    assert {record.body["inference"]["revision"] for record in decisions} == {revision}
    assert demo.summary["shadow"]["answered"] == len(decisions)


def test_shadow_and_backtest_decide_alike(demo: Demo) -> None:
    """One kernel: over HTTP and the feature store, or in process, the decisions and orders are the same."""
    kinds = ("decision", "verdict", "order", "fill", "equity")
    shadow = [(r.time, r.kind, r.body) for r in read_journal(demo.out / "journal.jsonl") if r.kind in kinds]
    journal = demo.out / "backtest" / "journal.jsonl"
    backtest = [(r.time, r.kind, r.body) for r in read_journal(journal) if r.kind in kinds]

    def without_name(story: list[tuple[int, str, dict[str, Any]]]) -> list[tuple[int, str, str]]:
        return [(t, kind, re.sub(r"cai-[0-9a-f]{32}", "ID", json.dumps(body))) for t, kind, body in story]

    assert without_name(shadow) == without_name(backtest)


def test_nothing_stays_behind(demo: Demo) -> None:
    """No process, no temporary file."""
    assert left_behind(demo.out) == []
    assert [p for p in demo.out.rglob(".*") if p.suffix in (".tmp", ".new") or p.name.startswith(".work")] == []


def test_the_report_stands_alone(demo: Demo) -> None:
    """One file without a script or an address of another host."""
    page = (demo.out / "report.html").read_text()

    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=[\"']?https?:", page)
    assert "Nothing here promises profit" in page


def test_readme_shows_the_real_output(demo: Demo) -> None:
    """Line for line the same words; only numbers may differ between machines."""
    shown = re.search(r"<!-- output: demo.*?-->\n```text\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert shown is not None

    def words(text: str) -> list[str]:
        return [re.sub(r"[-+]?[\d,]*\.?\d+%?|undefined", "#", line).split() for line in text.strip().splitlines()]  # type: ignore[misc]

    assert words(shown[1]) == words(demo.text)


@pytest.fixture
def staying(demo: Demo, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[int], Path]]:
    """A second `cryptoai demo` on what the first one left (a copy of it) that stays up."""
    ports, out = free_ports(2), tmp_path / "again"
    shutil.copytree(demo.out, out, symlinks=True)
    child = subprocess.Popen(
        command(out, ports, "--speed", "20"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    yield child, ports, out
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_a_second_run_starts_soon_and_serves_a_live_page(
    demo: Demo, staying: tuple[subprocess.Popen[bytes], list[int], Path]
) -> None:
    """The journal of the first run is kept, the new one equals it to the byte, the page follows; SIGTERM ends all."""
    first = (demo.out / "journal.jsonl").read_bytes()
    child, ports, out = staying
    page = f"http://127.0.0.1:{ports[1]}"
    wait_for(lambda: httpx.get(f"{page}/healthz", trust_env=False).status_code == 200, 90)
    assert CHROMIUM.exists(), "apt-get install chromium"
    watch_the_page(page)
    kept = out / "journal-1.jsonl"
    wait_for(lambda: kept.exists() and any(r.kind == "end" for r in read_journal(out / "journal.jsonl")), 60)
    child.send_signal(signal.SIGTERM)
    child.wait(timeout=40)

    assert child.returncode == 130
    assert kept.read_bytes() == first == (out / "journal.jsonl").read_bytes()
    wait_for(lambda: left_behind(out) == [], 20)


def wait_for(true: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if true():
                return
        except (httpx.HTTPError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def watch_the_page(url: str) -> None:
    """In a real browser: charts are drawn, and the count of decisions rises while the bot decides."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        view = browser.new_page(viewport={"width": 1280, "height": 1700})
        view.goto(url)
        wait_for(lambda: view.locator("canvas").count() >= 4, 20)
        wait_for(lambda: decisions_on(view) > 0, 90)
        before = decisions_on(view)
        wait_for(lambda: decisions_on(view) > before, 20)
        view.screenshot(path=os.environ.get("DEMO_SCREENSHOT") or None)
        browser.close()


def decisions_on(view: Any) -> int:
    """The count in the page's health sentence; 0 while there is none."""
    found = re.search(r": (\d+) decisions", view.locator("body").inner_text())
    return int(found[1]) if found else 0
