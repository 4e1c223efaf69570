"""The guards of tests/conftest.py guard."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.com", 443)])
def test_no_test_reaches_the_network(address: tuple[str, int]) -> None:
    """Connecting, by either call, and sending a datagram end before a packet leaves."""
    with socket.socket() as stream, pytest.raises(PermissionError, match="stay on this machine"):
        stream.connect(address)
    with pytest.raises(PermissionError):
        socket.create_connection(("198.51.100.7", 9), timeout=1)
    with socket.socket(type=socket.SOCK_DGRAM) as datagram, pytest.raises(PermissionError):
        datagram.sendto(b"x", address)


def test_loopback_is_open() -> None:
    """A server of the test itself can be reached."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        accepted, _ = server.accept()
        accepted.sendall(b"hello")
        accepted.close()
        assert client.recv(5) == b"hello"


@pytest.fixture(scope="module", autouse=True)
def _planted() -> Iterator[None]:
    os.environ["CRYPTOAI__RISK__MAX_LEVERAGE"] = "19"
    yield
    del os.environ["CRYPTOAI__RISK__MAX_LEVERAGE"]


def test_settings_of_the_person_are_absent() -> None:
    """A variable that was set outside is not seen by a test."""
    assert "CRYPTOAI__RISK__MAX_LEVERAGE" not in os.environ
