"""`kubectl cryptoai`: rows from what kubectl says, patches from what a person says, one sentence for what fails."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cryptoai.cli import kube
from cryptoai.core.errors import ConfigError, TransientError

BOT: dict[str, Any] = {
    "metadata": {"name": "btc", "namespace": "desk", "generation": 4},
    "spec": {"assets": ["BTCUSDT", "ETHUSDT"], "mode": "paper", "killSwitch": {"engaged": False}},
    "status": {
        "observedGeneration": 3,
        "mode": "shadow",
        "phase": "Degraded",
        "modelRevision": "95355ce267c27d8a58c0044da33950c4",
        "lastDecision": {"number": 135, "time": "2024-08-09T00:00:00Z"},
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "ModelMissing", "message": "bundle: no such folder"},
            {"type": "FeaturesReady", "status": "True", "reason": "Fresh", "message": ""},
            {"type": "Halted", "status": "False", "reason": "NotEngaged", "message": "fine"},
            {"type": "Degraded", "status": "True", "reason": "CrashLoop"},
        ],
    },
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl of our own, first on PATH: it writes down what it was asked and says what lies in `answer`."""
    program = tmp_path / "kubectl"
    lines = ["#!/bin/sh", f"cd {tmp_path}", 'printf "%s\\n" "$@" > asked', "cat answer", "cat error >&2"]
    program.write_text("\n".join([*lines, "exit $(cat code)", ""]))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    say(tmp_path, {"items": [BOT]})
    return tmp_path


def say(folder: Path, answer: Any, error: str = "", code: int = 0) -> None:
    (folder / "answer").write_text(json.dumps(answer) if answer is not None else "")
    (folder / "error").write_text(error)
    (folder / "code").write_text(str(code))


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


def called(*arguments: str) -> Result:
    return CliRunner().invoke(kube.app, list(arguments), catch_exceptions=False)


def test_a_row_says_what_needs_attention_and_nothing_else() -> None:
    """Halted and Degraded are good when False; the message stands beside its condition."""
    row = kube.row_of(BOT)

    assert (row.mode, row.phase, row.model, row.ready) == ("shadow", "Degraded", "95355ce267c2", "False")
    assert row.decision == "135 at 00:00:00"
    assert row.assets == "BTCUSDT ETHUSDT"
    assert not row.seen
    assert kube.row_of({**BOT, "metadata": {**BOT["metadata"], "generation": 3}}).seen
    assert row.notes == ("Ready=False ModelMissing: bundle: no such folder", "Degraded=True CrashLoop")


def test_a_bot_that_no_operator_saw_yet_has_a_row() -> None:
    """Dashes, and the mode that was asked for; an engaged switch shows before anybody confirms it."""
    new = {"metadata": {"name": "new"}, "spec": {"mode": "paper", "killSwitch": {"engaged": True}}}
    row = kube.row_of(new)

    assert (row.mode, row.phase, row.model, row.ready, row.decision, row.notes) == ("paper", *"----", ())
    assert row.halted == "asked"


def test_status_draws_a_table(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every column, and the sentence of what is wrong."""
    kube.status(namespace="desk", every=False, context=None, output="table")
    drawn = capsys.readouterr().out

    assert asked(cluster) == ["get", "tradingbots.cryptoai.dev", "--namespace", "desk", "-o", "json"]
    for word in (
        "btc",
        "shadow",
        "Degraded",
        "95355ce2",
        "BTCUSDT +1",
        "135 at 00:00:00",
        "bundle: no such folder",
        "newest spec",
    ):
        assert word in drawn


def test_status_as_json_can_be_piped(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same rows; the context and all namespaces reach kubectl."""
    kube.status(namespace=None, every=True, context="test", output="json")

    assert json.loads(capsys.readouterr().out)[0]["namespace"] == "desk"
    assert asked(cluster)[:4] == ["--context", "test", "get", "tradingbots.cryptoai.dev"]
    assert "--all-namespaces" in asked(cluster)


def test_no_bots_is_said(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty cluster is no error."""
    say(cluster, {"items": []})
    kube.status(namespace=None, every=False, context=None, output="table")

    assert "no TradingBot" in capsys.readouterr().err


def test_kill_engages_and_forgets_an_old_release(cluster: Path) -> None:
    """One merge patch of spec.killSwitch; the name of who released it last goes."""
    assert called("kill", "btc", "--reason", "feed skew", "-n", "desk").exit_code == 0
    *command, patch = asked(cluster)

    assert command[:3] == ["patch", "tradingbots.cryptoai.dev", "btc"]
    assert command[3:] == ["--namespace", "desk", "--type", "merge", "--patch"]
    assert json.loads(patch) == {
        "spec": {"killSwitch": {"engaged": True, "reason": "feed skew", "releasedBy": None}}
    }  # fmt: skip


def test_release_names_a_person_and_a_reason(cluster: Path) -> None:
    """Both are in the patch."""
    say(cluster, BOT)
    assert called("release", "btc", "--by", "ann", "--reason", "feed is back").exit_code == 0

    assert json.loads(asked(cluster)[-1]) == {
        "spec": {"killSwitch": {"engaged": False, "reason": "feed is back", "releasedBy": "ann"}}
    }


def test_the_same_release_twice_is_refused(cluster: Path) -> None:
    """A release counts once: repeating it would change nothing and look as if it had."""
    order = {"engaged": False, "reason": "fine", "releasedBy": "ann"}
    say(cluster, BOT | {"spec": {"killSwitch": order}})

    with pytest.raises(ConfigError, match="give a new --reason"):
        called("release", "btc", "--by", "ann", "--reason", "fine")


@pytest.mark.parametrize("empty", [["kill", "btc", "--reason", " "], ["release", "btc", "--by", "", "--reason", "x"]])
def test_an_empty_reason_or_name_is_refused(cluster: Path, empty: list[str]) -> None:
    """Before kubectl changes anything."""
    say(cluster, BOT)
    with pytest.raises(ConfigError, match="is empty"):
        called(*empty)

    assert not (cluster / "asked").exists() or asked(cluster)[0] == "get"


def test_no_kubectl_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the program and the fix."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="kubectl is not on PATH"):
        kube.kubectl(["version"])


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ('W1122 noise\nerror: the server doesn\'t have a resource type "tradingbots"\n', "install the chart first"),
        ("E1122 memcache\nThe connection to the server 127.0.0.1:6443 was refused\n", "127.0.0.1:6443 was refused"),
        ("", "it said nothing"),
    ],
)
def test_what_kubectl_cannot_do_is_its_last_sentence(cluster: Path, stderr: str, said: str) -> None:
    """No traceback, no noise."""
    say(cluster, None, stderr, 1)
    with pytest.raises(TransientError, match=said):
        kube.kubectl(["get", "x"])
