"""A real cluster for the tests: the chart in a namespace of its own, a trained bundle in its claim.

Without --cluster, or without a cluster, the tests of this folder are skipped. `make test-cluster` brings both.
CRYPTOAI_TEST_KUBECONFIG names another kubeconfig, CRYPTOAI_TEST_BUNDLE a bundle that is trained already.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHED = Path.home() / ".cache/cryptoai/cluster/kubeconfig"
KUBECONFIG = Path(os.environ.get("CRYPTOAI_TEST_KUBECONFIG") or CACHED)
BUNDLE = os.environ.get("CRYPTOAI_TEST_BUNDLE")
SPACE = "cryptoai-loop"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what needs a cluster; otherwise the order of the file, shuffled before, is the order of the story."""
    ours = [item for item in items if item.get_closest_marker("cluster")]
    if config.getoption("--cluster") and KUBECONFIG.is_file():
        ours.sort(key=lambda item: (item.path, item.reportinfo()[1] or 0))
        items[:] = [item for item in items if not item.get_closest_marker("cluster")] + ours
        return
    why = "needs a cluster: make test-cluster" if KUBECONFIG.is_file() else f"there is no {KUBECONFIG}: make cluster"
    for item in ours:
        item.add_marker(pytest.mark.skip(reason=why))


@dataclass(frozen=True)
class Desk:
    """A namespace with the chart installed, and the tools to look at it."""

    bundle: Path
    work: Path

    def env(self, **more: str) -> dict[str, str]:
        path = f"{ROOT / '.tools/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CRYPTOAI", "KUBE"))}
        return {**kept, "KUBECONFIG": str(KUBECONFIG), "PATH": path, **more}

    def run(self, *words: str, text: str | None = None, seconds: float = 300, **env: str) -> str:
        """Standard output; AssertionError with what was said if it fails."""
        done = self.attempt(*words, text=text, seconds=seconds, **env)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def attempt(
        self, *words: str, text: str | None = None, seconds: float = 300, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            input=text,
            env=self.env(**env),
            cwd=ROOT,
            timeout=seconds,
            capture_output=True,
            text=True,
            check=False,
        )

    def kubectl(self, *words: str, text: str | None = None, seconds: float = 300) -> str:
        return self.run("kubectl", "--namespace", SPACE, *words, text=text, seconds=seconds)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The object, or {} if there is none."""
        said = self.kubectl("get", kind, name, "--output", "json", "--ignore-not-found")
        found: dict[str, Any] = json.loads(said) if said.strip() else {}
        return found

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "--selector", selector, "--output", "json"))[
            "items"
        ]
        return found

    def apply(self, thing: dict[str, Any]) -> None:
        self.kubectl("apply", "--filename", "-", text=json.dumps(thing))

    def patch(self, name: str, spec: dict[str, Any]) -> None:
        self.kubectl("patch", "tradingbot", name, "--type", "merge", "--patch", json.dumps({"spec": spec}))

    def condition(self, name: str, kind: str) -> tuple[str, str, str]:
        """(status, reason, message) of one condition of a bot; empty words before there is one."""
        found = self.get("tradingbot", name).get("status", {}).get("conditions", [])
        mine = next((c for c in found if c["type"] == kind), {})
        return mine.get("status", ""), mine.get("reason", ""), mine.get("message", "")

    def until(self, true: Callable[[], Any], what: str, seconds: float = 240) -> float:
        """How many seconds it took."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} s\n{self.picture()}"
            time.sleep(0.5)
        return time.monotonic() - began

    def picture(self) -> str:
        """What a person would look at."""
        seen = self.attempt("kubectl", "--namespace", SPACE, "get", "tradingbots,pods", "--output", "wide").stdout
        status = [(bot["metadata"]["name"], bot.get("status")) for bot in self.list("tradingbots")]
        logs = self.attempt(
            "kubectl", "-n", SPACE, "logs", "--selector", "app.kubernetes.io/name=cryptoai", "--tail", "15", "--prefix"
        ).stdout
        return f"{seen}\n{json.dumps(status, indent=1)}\n{logs}"


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Installed as the documentation says; afterwards gone, but for the cluster's definition of a TradingBot."""
    made = Desk(Path(), tmp_path_factory.mktemp("loop"))
    made = Desk(Path(BUNDLE) if BUNDLE else trained(made), made.work)
    _clear(made)
    newest = ["--server-side", "--force-conflicts", "--field-manager=helm", "--filename", "charts/cryptoai/crds"]
    made.run("kubectl", "apply", *newest)  # helm alone keeps the definition of an earlier run
    options = ["--create-namespace", "--set", "bundles.create=true", "--wait", "--timeout", "5m"]
    made.run("helm", "install", "cryptoai", "charts/cryptoai", "--namespace", SPACE, *options, seconds=360)
    made.run("scripts/load_bundle.sh", str(made.bundle.resolve()), SPACE, "first")
    yield made
    if not os.environ.get("CRYPTOAI_TEST_KEEP"):
        _clear(made)


def trained(desk: Desk) -> Path:
    """A bundle from the recorded sample, as `cryptoai train` makes it."""
    lake, folder = desk.work / "trained/lake", desk.work / "trained/checkpoints"
    desk.run("cryptoai", "data", "import", "--sample", "--lake", str(lake))
    places = ["--set", f"data.lake={lake}", "--set", f"training.checkpoints={folder}"]
    desk.run("cryptoai", "train", "--config", "configs/demo.yaml", *places, seconds=900)
    return folder / "best_model.pt"


def _clear(desk: Desk) -> None:
    desk.attempt("kubectl", "--namespace", SPACE, "delete", "tradingbots", "--all", "--timeout=60s")
    desk.attempt("helm", "uninstall", "cryptoai", "--namespace", SPACE, "--wait", "--ignore-not-found")
    desk.attempt("kubectl", "delete", "namespace", SPACE, "--ignore-not-found", "--timeout=120s")
