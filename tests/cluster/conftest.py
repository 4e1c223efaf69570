"""A real cluster for the tests, brought to a running bot by the commands of docs/kubernetes.md themselves.

Without --cluster, or without a cluster, the tests of this folder are skipped. `make test-cluster` brings both.
CRYPTOAI_TEST_KUBECONFIG names another kubeconfig, CRYPTOAI_TEST_BUNDLE a bundle that is trained already (the commands
that would train one are left out then), CRYPTOAI_TEST_KEEP leaves everything where it is.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scripts.cluster.choice import for_tests

ROOT = Path(__file__).resolve().parents[2]
CACHED = Path.home() / ".cache/cryptoai/cluster/kubeconfig"
KUBECONFIG = Path(os.environ.get("CRYPTOAI_TEST_KUBECONFIG") or CACHED)
BUNDLE = os.environ.get("CRYPTOAI_TEST_BUNDLE")
PAGE = ROOT / "docs/kubernetes.md"
SPACE = "cryptoai"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


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


@dataclass
class Desk:
    """A checkout that the page's commands run in, the namespace that they install into, and tools to look at it."""

    work: Path
    took: dict[str, float] = field(default_factory=dict)

    @property
    def checkout(self) -> Path:
        """Every file of the project by link; what commands write here stays here."""
        return self.work / "checkout"

    @property
    def bundle(self) -> Path:
        return self.checkout / "checkpoints/best_model.pt"

    def env(self) -> dict[str, str]:
        path = f"{ROOT / '.tools/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CRYPTOAI", "KUBE", "MAKE", "MFLAGS"))}
        return {**kept, "KUBECONFIG": str(KUBECONFIG), "PATH": path}

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
            env=self.env() | env,
            cwd=self.checkout,
            timeout=seconds,
            capture_output=True,
            text=True,
            check=False,
        )

    def follow(self, heading: str, *, stop: str = "", start: str = "") -> None:
        """Runs the commands under a heading of the page, each as it stands there, in their order.

        `start` and `stop` take a part of them: from the first command with that word, to the one before the next.
        """
        text = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
        lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
        assert lines, f"{PAGE.name} has no commands under {heading}"
        first = next(i for i, line in enumerate(lines) if start in line)
        last = next((i for i, line in enumerate(lines) if stop and stop in line and i >= first), len(lines))
        exports = [line for line in lines if line.startswith("export ")]
        for line in lines[first:last]:
            began = time.monotonic()
            if not (BUNDLE and line.startswith(("cryptoai data", "cryptoai train"))):
                self.run("bash", "-euo", "pipefail", "-c", "\n".join([*exports, line]), seconds=900)
            self.took[line] = time.monotonic() - began

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
        mine: dict[str, str] = next((c for c in found if c["type"] == kind), {})
        return mine.get("status", ""), mine.get("reason", ""), mine.get("message", "")

    def until(self, true: Callable[[], Any], what: str, seconds: float = 300) -> float:
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
    """From nothing to a bot in shadow, by the page's ten commands; afterwards gone, but for what the page leaves."""
    made = Desk(tmp_path_factory.mktemp("loop"))
    made.checkout.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in ("var", "checkpoints"):
            (made.checkout / entry.name).symlink_to(entry)
    context = made.run("kubectl", "config", "current-context").strip()
    assert for_tests(context), f"{KUBECONFIG} is of context {context}, which is not named for tests"
    _clear(made)
    if BUNDLE:
        made.bundle.parent.mkdir()
        made.bundle.symlink_to(Path(BUNDLE).resolve())
    made.follow("Ten commands")
    yield made
    if not os.environ.get("CRYPTOAI_TEST_KEEP"):
        _clear(made)


def _clear(desk: Desk) -> None:
    """What an earlier run may have left behind."""
    desk.attempt("kubectl", "--namespace", SPACE, "delete", "tradingbots", "--all", "--timeout=60s")
    desk.attempt("helm", "uninstall", "cryptoai", "--namespace", SPACE, "--wait", "--ignore-not-found")
    desk.attempt("kubectl", "delete", "namespace", SPACE, "--ignore-not-found", "--timeout=120s")
    desk.attempt("kubectl", "delete", "customresourcedefinition", "tradingbots.cryptoai.dev", "--ignore-not-found")
