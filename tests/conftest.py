"""What holds for every test: a scrubbed environment, one torch thread, and no network beyond this machine.

Nothing here fakes a part of the product; it only takes away what a test must not depend on.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import settings

PRIVATE_PREFIXES = ("CRYPTOAI", "BINANCE", "BYBIT", "OKX", "KUBE", "AWS_", "MLFLOW_", "FEAST_", "PROMETHEUS_")

os.environ["FEAST_USAGE"] = "False"
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

settings.register_profile("shared-machine", deadline=None)  # a busy neighbour is no defect
settings.load_profile("shared-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--cluster", action="store_true", help="also run the tests that need a Kubernetes cluster")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked slow run only when asked for."""
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))


def _local(address: Any) -> bool:
    """Whether a socket address stays on this machine: a Unix path, or a loopback host."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host in ("", "localhost", "0.0.0.0", "::"):  # noqa: S104  # as a destination, "any" is this machine
        return True
    try:
        return ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_loopback
    except ValueError:
        return False


def _guarded(name: str) -> Callable[..., Any]:
    """The method `name` of every socket, refusing an Internet address that is not this machine's."""
    original = getattr(socket.socket, name)

    @functools.wraps(original)
    def guarded(self: socket.socket, *args: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _local(args[-1]):
            raise PermissionError(f"a test tried to reach {args[-1]!r}; tests stay on this machine")
        return original(self, *args)

    return guarded


for _name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, _name, _guarded(_name))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting, key or cluster of the person who runs the tests reaches a test."""
    for name in list(os.environ):
        if name.upper().startswith(PRIVATE_PREFIXES) and name != "FEAST_USAGE":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _structlog_as_it_was() -> Iterator[None]:
    """A command that sets up logging in one test does not write to that test's closed stderr in the next."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _one_torch_thread() -> None:
    """Two cores and equal sums on every machine: torch, where a test has it, runs on one thread."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads") and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
