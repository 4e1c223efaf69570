"""The chart as Helm renders it. Without Helm the tests here are skipped, saying how to get it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "cryptoai"

Object = dict[str, Any]
Helm = Callable[..., "subprocess.CompletedProcess[str]"]


class Rendered(list[Object]):
    """Every object of one rendering."""

    def of(self, kind: str) -> list[Object]:
        return [thing for thing in self if thing["kind"] == kind]

    def named(self, kind: str, name: str) -> Object:
        """The one object of that kind and name."""
        (found,) = [thing for thing in self.of(kind) if thing["metadata"]["name"] == name]
        return found

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Name and pod spec of everything that runs."""
        for thing in self:
            if thing["kind"] == "Pod":
                yield thing["metadata"]["name"], thing["spec"]
            elif "template" in thing.get("spec", {}):
                yield thing["metadata"]["name"], thing["spec"]["template"]["spec"]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Runs Helm with the words given; the exit code is the caller's business."""
    found = shutil.which("helm", path=str(ROOT / ".tools" / "bin")) or shutil.which("helm")
    if found is None:
        pytest.skip("there is no .tools/bin/helm; `make tools` fetches it")

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([found, *map(str, words)], capture_output=True, text=True, check=False, timeout=30)

    return run


@pytest.fixture(scope="session")
def template(helm: Helm) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`helm template` of the chart, `values` given as paths with __ for a dot."""

    def run(*flags: str, **values: Any) -> subprocess.CompletedProcess[str]:
        sets = [f"--set-json={path.replace('__', '.')}={json.dumps(value)}" for path, value in values.items()]
        return helm("template", "cryptoai", CHART, "--namespace=desk", *flags, *sets)

    return run


@pytest.fixture(scope="session")
def render(template: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Rendered]:
    """The objects of a rendering that must succeed."""

    def objects(*flags: str, **values: Any) -> Rendered:
        done = template(*flags, **values)
        assert done.returncode == 0, done.stderr
        return Rendered(thing for thing in yaml.safe_load_all(done.stdout) if thing)

    return objects
