"""`cryptoai demo`: the whole product, end to end, on one machine and on recorded data.

Every step is the code behind the command of its name; this module only orders them, remembers what is already done, and
watches the children. It must leave no process and no half-written file, whatever ends it.
"""

from __future__ import annotations

import fcntl
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cryptoai.backtesting.evaluate import Evaluation, evaluate, result_lines, result_summary
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.report import write_report
from cryptoai.cli.backtest import json_text, replay_unseen, write_atomically
from cryptoai.cli.children import Children, require_port, stop_on_signals
from cryptoai.cli.console import err, out, progress
from cryptoai.cli.data import SAMPLES, import_tape, sample_path
from cryptoai.cli.features import open_store, store_features
from cryptoai.cli.serve import server_command
from cryptoai.cli.settings import project_root
from cryptoai.cli.tapes import fingerprint, load_feeds, windows
from cryptoai.cli.train import train_on
from cryptoai.core.bundle import canonical_json, verify_bundle
from cryptoai.core.config import Config, build, merge
from cryptoai.core.errors import BundleError, ConfigError, CryptoAIError
from cryptoai.core.ids import content_hash
from cryptoai.core.journal import read_journal
from cryptoai.data_universe.market_microstructure.report import ImportReport
from cryptoai.data_universe.schema import SCHEMA_HASH
from cryptoai.execution import kinds
from cryptoai.monitoring.follower import Follower

__all__ = ["placed", "run_demo"]

ASSET = "BTCUSDT"
_READY_S = 60.0
_POLL_S = 0.2


def placed(config: Config, home: Path | None) -> tuple[Config, Path]:
    """Everything below `home` if one is given; else the configured folders, with the results in var/demo."""
    if home is None:
        return config, Path("var/demo")
    folders = {
        "data": {"lake": str(home / "lake")},
        "features": {"data": str(home / "features")},
        "training": {"checkpoints": str(home / "checkpoints")},
    }
    return build(merge(config.model_dump(), folders)), home


def run_demo(config: Config, home: Path | None, *, once: bool, speed: float) -> int:
    """The loop; with `once` it leaves when the tape has ended, else it stays until it is stopped."""
    stop_on_signals()
    config, home = placed(config, home)
    require_port(config.serving.host, config.serving.port, "serving.port")
    require_port(config.dashboard.host, config.dashboard.port, "dashboard.port")
    with _alone(home), Children(home / "logs") as children:
        demo = _Demo(config, home, children)
        demo.prepare()
        demo.start(speed=0.0 if once else speed)
        demo.tell()
        demo.finish()
        if not once:
            out.print("The tape has ended. The page stays until Ctrl-C.")
            demo.stay()
    return 0


@dataclass
class _Demo:
    """One run: its folders, its children and what it found."""

    config: Config
    home: Path
    children: Children
    seconds: dict[str, float] = field(default_factory=dict)
    imports: list[ImportReport] = field(default_factory=list)
    feeds: tuple[Feed, ...] = ()
    bundle: Path = Path()
    evaluation: Evaluation | None = None

    def prepare(self) -> None:
        """Everything up to the result of the backtest."""
        for step in (self._import, self._features, self._train, self._backtest, self._package):
            started = time.monotonic()
            step()
            self.seconds[step.__name__.strip("_")] = round(time.monotonic() - started, 2)
        self._write_summary({})

    def start(self, speed: float) -> None:
        """The inference server, the shadow bot against it, the dashboard on its journal."""
        started = time.monotonic()
        serving, me = self.config.serving, [sys.executable, "-m", "cryptoai.cli"]
        command = server_command(self.config, ["--tag", self._tag()], self.home / "bentoml")
        self.children.start("serve", command, env={"PYTHONPATH": str(project_root())})
        settings = self._settings_file()
        self.children.start("dashboard", [*me, "dashboard", "--config", settings, "--out", str(self.home)])
        with progress("inference server and dashboard"):
            self._wait("serve", f"http://{_local(serving.host)}:{serving.port}/health")
            self._wait("dashboard", f"http://{_local(self.config.dashboard.host)}:{self.config.dashboard.port}/healthz")
        url = f"http://{_local(serving.host)}:{serving.port}"
        bot = ["bot", "--config", settings, "--model", url, "--out", str(self.home), "--speed", str(speed)]
        self._bot = self.children.start("bot", [*me, *bot, "--assets", ASSET])
        self.seconds["servers"] = round(time.monotonic() - started, 2)

    def tell(self) -> None:
        """The result, the URLs, and the sentence that must never be missing."""
        if self.evaluation is not None:
            for line in result_lines(self.evaluation):
                out.print(line)
        serving, page = self.config.serving, self.config.dashboard
        out.print(f"inference  http://{_local(serving.host)}:{serving.port}/health")
        out.print(f"dashboard  http://{_local(page.host)}:{page.port}/")

    def finish(self) -> None:
        """Waits for the shadow bot to reach the end of the tape and writes summary.json."""
        started, journal = time.monotonic(), Follower(self.home / "journal.jsonl")
        window = windows(self.config, self.feeds).test
        total = (window.stop - window.start) // (self.config.execution.decision_interval_ms * 1_000_000)
        done = 0
        with progress("shadow bot") as advance:
            while self._bot.poll() is None:
                news = journal.poll()
                done = (0 if news.restarted else done) + sum(r.kind == kinds.DECISION for r in news.records)
                advance(done, total, "decisions")
                self.children.check()
                time.sleep(_POLL_S)
        self.children.check()
        self.seconds["shadow"] = round(time.monotonic() - started, 2)
        self._write_summary(self._shadow())

    def stay(self) -> None:
        """Until a signal; a child that fails ends the demo with its last words."""
        while True:
            self.children.check()
            time.sleep(_POLL_S)

    # ------------------------------------------------------------------ steps

    def _import(self) -> None:
        lake = Path(self.config.data.lake)
        for name in SAMPLES:
            report = import_tape(sample_path(name), name, lake)
            self.imports.append(report)
            err.print(report.summary(), style="dim")
        self.feeds = load_feeds(self.config, [ASSET])

    def _features(self) -> None:
        done = self._mark(f"{fingerprint(self.feeds)} {SCHEMA_HASH} {self.config.data.sample_ms}")
        if self._is_done("features", done):
            return
        store = open_store(self.config)
        store.apply()
        with progress("features into Feast, offline and online"):
            store_features(self.config, store, [ASSET])
        self._set_done("features", done)

    def _train(self) -> None:
        wanted = self._mark(f"{fingerprint(self.feeds)} {SCHEMA_HASH} {self._learning()}")
        link = Path(self.config.training.checkpoints) / "best_model.pt"
        if self._is_done("train", wanted) and _usable(link):
            self.bundle = link.resolve()
        else:
            self.bundle = train_on(self.config, self.feeds)
            self._set_done("train", wanted)
        self._link(self.bundle)

    def _backtest(self) -> None:
        (self.home / "backtest").mkdir(parents=True, exist_ok=True)
        journal = self.home / "backtest" / "journal.jsonl"
        journal.unlink(missing_ok=True)
        self.evaluation = evaluate(replay_unseen(self.config, self.feeds, str(self.bundle), journal))
        write_report(self.home / "report.html", self.evaluation)

    def _package(self) -> None:
        wanted = self._mark(verify_bundle(self.bundle).revision + _code_hash())
        if self._is_done("package", wanted):
            return
        with progress("package with BentoML"):
            command = [sys.executable, "-m", "bentos.build", "--bundle", str(self.bundle)]
            child = self.children.start(
                "package", [*command, "--home", str(self.home / "bentoml")], env={"PYTHONPATH": str(project_root())}
            )
            if child.wait() != 0:
                raise CryptoAIError(f"packaging failed: {self.children.last_words('package')}")
        self._set_done("package", f"{wanted} {self.children.last_words('package')}")

    def _tag(self) -> str:
        return (self.home / ".done" / "package").read_text().split()[-1]

    # ------------------------------------------------------------------ memory of earlier runs

    def _mark(self, content: str) -> str:
        return content_hash(content.encode(), 32)

    def _is_done(self, step: str, wanted: str) -> bool:
        done = self.home / ".done" / step
        return done.exists() and done.read_text().split()[0] == wanted

    def _set_done(self, step: str, mark: str) -> None:
        write_atomically(self.home / ".done" / step, mark + "\n")

    def _learning(self) -> str:
        """What of the configuration changes a bundle; where things lie does not."""
        paths: dict[str, set[str]] = {"data": {"lake"}, "training": {"checkpoints"}}
        chosen = self.config.model_dump(mode="json", include={"model", "training", "data", "execution"}, exclude=paths)
        return canonical_json(chosen).decode()

    def _link(self, bundle: Path) -> None:
        link = self.home / "bundle"
        fresh = link.with_name(".bundle.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(bundle.resolve())
        fresh.replace(link)

    def _settings_file(self) -> str:
        """The configuration of the children: a file, because a command line has a length."""
        path = self.home / "settings.yaml"
        write_atomically(path, json_text(self.config.model_dump(mode="json")))
        return str(path)

    # ------------------------------------------------------------------ watching

    def _wait(self, name: str, url: str) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            self.children.check()
            try:
                if httpx.get(url, timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(_POLL_S)
        raise CryptoAIError(f"{name} was not ready after {_READY_S:.0f} s: {self.children.last_words(name)}")

    def _shadow(self) -> dict[str, Any]:
        records = list(read_journal(self.home / "journal.jsonl"))
        decisions = [record.body for record in records if record.kind == kinds.DECISION]
        equity = [record.body["equity"] for record in records if record.kind == kinds.EQUITY]
        return {
            "decisions": len(decisions),
            "answered": sum(body["inference"] is not None for body in decisions),
            "orders": sum(record.kind == kinds.ORDER for record in records),
            "fills": sum(record.kind == kinds.FILL for record in records),
            "alerts": sum(record.kind == kinds.ALERT for record in records),
            "equity": equity[-1],
            "journal": "journal.jsonl",
            "journal_sum": records[-1].sum,
        }

    def _write_summary(self, shadow: dict[str, Any]) -> None:
        manifest = verify_bundle(self.bundle)
        size = sum(path.stat().st_size for path in self.bundle.iterdir())
        summary = {
            "imports": [report.model_dump(mode="json") for report in self.imports],
            "bundle": {"revision": manifest.revision, "schema_hash": manifest.schema_hash, "bytes": size},
            "backtest": result_summary(self.evaluation) if self.evaluation is not None else {},
            "shadow": shadow,
            "seconds": self.seconds,
            "peak_memory_mb": _peak_memory_mb(),
            "note": "Nothing here promises profit.",
        }
        write_atomically(self.home / "summary.json", json_text(summary))


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One demo a folder; the lock goes with the process, however it ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another demo is running in {home}; stop it or give another --out") from None
        yield


def _usable(bundle: Path) -> bool:
    """Whether an earlier bundle may be used again; a damaged one is trained anew, and said."""
    try:
        verify_bundle(bundle.resolve(), schema_hash=SCHEMA_HASH)
    except BundleError as error:
        err.print(f"training again: {error}")
        return False
    return True


def _code_hash() -> str:
    """Of what a Bento carries, so that changed code is packaged again."""
    root = project_root()
    sources = sorted([*(root / "cryptoai").rglob("*.py"), *(root / "bentos").rglob("*.py")])
    return content_hash("".join(content_hash(path.read_bytes()) for path in sources).encode())


def _local(host: str) -> str:
    """Where this machine reaches a server that binds to `host`."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound


def _peak_memory_mb() -> int:
    """The largest process of this run so far, in MB (Linux reports kilobytes)."""
    used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(used) // 1024
