"""The images' parts are proven one by one, without building them: lint, compose file, sources, install steps."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
INSTALL = DOCKER / "install.sh"
ROLES = ("operator", "bot", "serve", "train", "all", "dev")


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((DOCKER / "docker-compose.yml").read_text())["services"]
    assert list(services) == ["trading-ai"]
    found: dict[str, Any] = services["trading-ai"]
    return found


def steps(instruction: str) -> list[str]:
    """The arguments of every `instruction` of the Dockerfile, continued lines joined."""
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{instruction}\s+(.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["Dockerfile", "redis.Dockerfile"])
def test_dockerfile_passes_the_linter(name: str) -> None:
    """hadolint has no finding."""
    lint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([lint, DOCKER / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_install_script_is_a_program() -> None:
    """It parses, is executable, and refuses a role or usage that it does not know."""
    subprocess.run(["bash", "-n", INSTALL], check=True)
    assert os.access(INSTALL, os.X_OK)
    for arguments, said in ((["cook", "/tmp/x"], "'cook' is not one of"), ([], "usage")):  # noqa: S108  # never made
        done = subprocess.run([INSTALL, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 64
        assert said in done.stderr


def test_every_role_installs_extras_that_exist() -> None:
    """A renamed extra would make pip warn and install half of a role."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"extras=([a-z,]+)", INSTALL.read_text())
    assert len(named) == len(ROLES)
    assert {extra for group in named for extra in group.split(",")} <= set(extras)


ROLE_IMPORTS = {
    "operator": ("operators.main", "cryptoai.cli"),
    "bot": (
        "cryptoai.cli",
        "cryptoai.cli.bot",
        "cryptoai.cli.cluster",
        "cryptoai.cli.data",
        "cryptoai.cli.features",
        "cryptoai.cli.models",
        "cryptoai.cli.tapes",
        "cryptoai.data_universe.adapters.feast_store",
        "cryptoai.execution.adapters.http_model",
        "cryptoai.execution.adapters.kube_watch",
        "feast",
        "feast.infra.offline_stores.duckdb",
        "feast.infra.online_stores.redis",
        "feature_repo.definitions",
    ),
    "serve": ("bentos.serve", "bentos.service", "bentos.metrics", "cryptoai.decision_engine.inference", "bentoml"),
}
# Imports what it is given, with every package of the environment out of reach but those named on standard input.
WITHOUT_THE_REST = """
import importlib, importlib.metadata, sys
from importlib.machinery import PathFinder
carried = set(sys.stdin.read().split())
owners = importlib.metadata.packages_distributions()
class Wall(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = {n.lower().replace("_", "-").replace(".", "-") for n in owners.get(name.partition(".")[0], [])}
        return None if found and not found & carried else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Wall
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def carried(role: str) -> set[str]:
    """The distributions that a role's extras bring, by their canonical names, as this environment has them."""
    (extras,) = re.findall(rf"{role}\) extras=([a-z,]+)", INSTALL.read_text())
    found: set[str] = set()
    waiting = [("cryptoai", extra) for extra in ["", *extras.split(",")]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found.add(name)
        for needed in requirements(name):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(needed.name), each) for each in ["", *needed.extras]]
    return found


def requirements(name: str) -> list[Requirement]:
    """Ours from pyproject.toml, for the installed copy may be older; others' as installed, none if they are not."""
    if name != "cryptoai":
        try:
            return [Requirement(line) for line in importlib.metadata.requires(name) or []]
        except importlib.metadata.PackageNotFoundError:
            return []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = [(e, line) for e, lines in project["optional-dependencies"].items() for line in lines]
    return [Requirement(line) for line in project["dependencies"]] + [
        Requirement(f"{line}; extra == '{extra}'") for extra, line in optional
    ]


@pytest.mark.parametrize("role", ROLE_IMPORTS)
def test_a_role_imports_nothing_that_its_image_lacks(role: str) -> None:
    """Its programs start with only the packages of its extras in reach."""
    names = carried(role) - {"mypy"}  # docker/slim.sh takes it out
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_THE_REST, *ROLE_IMPORTS[role]],
        input=" ".join(names), capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_no_role_carries_what_another_is_for() -> None:
    """torch only where a bundle is evaluated, the feature store only where features are, the operator neither."""
    has = {role: carried(role) for role in ROLE_IMPORTS}
    assert {role for role in has if "torch" in has[role]} == {"serve"}
    assert {role for role in has if {"feast", "pyarrow", "numba"} & has[role]} == {"bot"}
    assert {role for role in has if "kopf" in has[role]} == {"operator"}
    assert not {role for role in has if {"polars", "ccxt", "kubernetes", "playwright"} & has[role]}


def test_every_copied_source_exists_and_reaches_the_builder() -> None:
    """What COPY names is in the checkout and is let through by .dockerignore."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [word for step in steps("COPY") if "--from" not in step for word in step.split()[:-1]]
    assert {"cryptoai", "requirements.lock", "docker/install.sh"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), f"COPY {source}: not in the checkout"
        ways_in = (source, *map(str, Path(source).parents))
        assert any(fnmatch.filter(ways_in, pattern) for pattern in allowed), f"COPY {source}: hidden by .dockerignore"


def test_nothing_secret_or_heavy_reaches_the_builder() -> None:
    """.dockerignore starts from nothing, so .git, .venv, var/ and checkpoints/ never travel."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"


def test_the_image_runs_as_nobody_special() -> None:
    """Two stages on the same slim base, the last one as uid 10001, installed by the tested script."""
    bases = steps("FROM")
    assert bases[0].startswith("python:3.11-slim-bookworm AS build")
    assert bases[-1] == "python:3.11-slim-bookworm"
    assert steps("USER") == ["10001:10001"]
    assert any('docker/install.sh "$ROLE" /opt/venv' in step for step in steps("RUN"))
    assert steps("ENTRYPOINT") == ['["cryptoai"]']


def test_compose_publishes_on_this_machine_only(service: dict[str, Any]) -> None:
    """Ports 8080 and 8081, bound to loopback outside and to every address inside."""
    assert service["ports"] == ["127.0.0.1:8080:8080", "127.0.0.1:8081:8081"]
    assert service["environment"]["CRYPTOAI__SERVING__HOST"] == "0.0.0.0"  # noqa: S104
    assert service["environment"]["CRYPTOAI__DASHBOARD__HOST"] == "0.0.0.0"  # noqa: S104
    assert service["command"] == ["demo"]


def test_compose_settings_are_keys_that_exist(service: dict[str, Any]) -> None:
    """The environment of the service is a valid configuration."""
    from cryptoai.cli.settings import load_config

    config = load_config(env=service["environment"])
    assert (config.serving.port, config.dashboard.port) == (8080, 8081)


def test_compose_takes_every_privilege_away(service: dict[str, Any]) -> None:
    """No root, no capability, no writable root file system; what is written has a volume or a tmpfs."""
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/data"]
    assert service["tmpfs"][0].startswith("/tmp:")  # noqa: S108
    assert service["mem_limit"] == "4g"


def test_compose_healthcheck_asks_both_ports(service: dict[str, Any]) -> None:
    """The check is Python that compiles and reaches the server and the page."""
    kind, python, flag, code = service["healthcheck"]["test"]
    assert (kind, python, flag) == ("CMD", "python", "-c")
    compile(code, "healthcheck", "exec")
    assert ":8080/health" in code
    assert ":8081/" in code


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_operator_carries_what_it_runs_and_nothing_else(tmp_path: Path) -> None:
    """The image's own install step, in a fresh environment: pinned versions, no torch, no feast, no bentoml."""
    venv = tmp_path / "venv"
    subprocess.run([INSTALL, "operator", venv], check=True, env=os.environ | {"PYTHON": sys.executable})
    listed = subprocess.run([venv / "bin/pip", "freeze"], check=True, capture_output=True, text=True).stdout
    pins = set((ROOT / "requirements.lock").read_text().lower().replace("_", "-").splitlines())
    installed = {line.lower().replace("_", "-") for line in listed.splitlines() if "==" in line}
    assert installed <= pins, f"not as pinned: {sorted(installed - pins)}"
    names = {line.split("==")[0] for line in installed}
    assert {"kopf", "aiohttp", "pydantic"} <= names
    assert not names & {"torch", "feast", "bentoml", "numpy", "ccxt", "kubernetes"}
    run = "import cryptoai.core.config, cryptoai.core.journal, cryptoai.core.bundle, kopf; print('fine')"
    done = subprocess.run([venv / "bin/python", "-c", run], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "fine\n"
    told = subprocess.run([venv / "bin/cryptoai", "--help"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "demo" in told.stdout
