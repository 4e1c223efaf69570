"""Logs: form by terminal, and no secret in any of them."""

from __future__ import annotations

import io
import json
import sys
from types import MappingProxyType

import pytest
import structlog

from cryptoai.core.errors import ConfigError
from cryptoai.core.logging import HIDDEN, configure_logging, redact, scrub

SECRET = "hunter2-XyZ0/9+abc"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Credentials:
    def __repr__(self) -> str:
        return f"Credentials(api_key='{SECRET}')"


@pytest.fixture(params=["json", "console"])
def output(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO() if request.param == "json" else Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(level="debug")
    return stream


@pytest.mark.parametrize(
    "fields",
    [
        {"password": SECRET},
        {"api_key": SECRET, "n": 1},
        {"apiKey": SECRET},
        {"X-MBX-APIKEY": SECRET},
        {"secretKey": {"inner": SECRET}},
        {"signature": SECRET},
        {"deep": {"a": [{"Passphrase": SECRET}, ({"auth_token": SECRET},)]}},
        {"proxy": MappingProxyType({"credentials": SECRET})},
        {"url": f"https://host/x?timestamp=1&signature={SECRET}&n=2"},
        {"url": f"redis://user:{SECRET.replace('/', '')}@host:6379/0"},
        {"header": f"Authorization: Bearer {SECRET}"},
        {"sent": [f"Bearer {SECRET}"]},
        {"body": json.dumps({"token": SECRET})},
        {"body": json.dumps(json.dumps({"token": SECRET}))},
        {"raw": f"api_secret={SECRET}".encode()},
        {"object": Credentials()},
        {"many": {f"password={SECRET}"}},
    ],
)
def test_planted_secrets_are_never_rendered(output: io.StringIO, fields: dict[str, object]) -> None:
    """By key at any depth, in URLs, headers, JSON in text, bytes and reprs: the value never gets out."""
    structlog.get_logger().info("order_sent", **fields)
    text = output.getvalue()
    assert HIDDEN in text
    assert SECRET not in text
    assert SECRET.replace("/", "") not in text
    assert "hunter2" not in text


def test_secrets_in_events_and_exceptions_are_hidden(output: io.StringIO) -> None:
    """Neither the message, nor the exception's text, nor a local variable of its frames is a way out."""
    password = SECRET  # noqa: F841  # a traceback that shows locals would print it
    try:
        raise ValueError(f"refused: secret={SECRET}")
    except ValueError:
        structlog.get_logger().exception(f"login with password: {SECRET}")
    text = output.getvalue()
    assert "ValueError: refused: secret=[hidden]" in text
    assert "hunter2" not in text


def test_json_unless_a_person_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One JSON object a line where stderr is no terminal, key=value where it is."""
    for stream, is_json in ((io.StringIO(), True), (Terminal(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logging()
        structlog.get_logger().warning("stale", feed="binance", age_s=1.5, empty=None)
        line = stream.getvalue()
        if is_json:
            record = json.loads(line)
            assert (record["event"], record["level"], record["age_s"]) == ("stale", "warning", 1.5)
            assert record["empty"] is None
            assert record["timestamp"].endswith("Z")
        else:
            assert "stale" in line
            with pytest.raises(json.JSONDecodeError):
                json.loads(line)


def test_level_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the level nothing is written; an unknown level is a configuration error."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(level="warning")
    structlog.get_logger().info("quiet")
    assert stream.getvalue() == ""
    with pytest.raises(ConfigError, match="'loud' is not one of"):
        configure_logging(level="loud")


@pytest.mark.parametrize(
    "text",
    ["tokens were plenty", "the private path", "signature verified", "https://host:8080/x", "a=1&b=2", "basic idea"],
)
def test_plain_text_stays(text: str) -> None:
    """Words alone are no secrets."""
    assert scrub(text) == text


def test_redact_leaves_its_input(output: io.StringIO) -> None:
    """The caller's own dictionary keeps its values: only what is rendered changes."""
    event = {"api_key": SECRET, "inner": {"token": SECRET}}
    assert redact(None, "info", event) == {"api_key": HIDDEN, "inner": {"token": HIDDEN}}
    assert event["inner"] == {"token": SECRET}
