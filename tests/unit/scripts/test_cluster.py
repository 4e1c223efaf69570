"""The parts of scripts/cluster that decide: which cluster, which binaries, which process, which names and volumes."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.cluster import __main__ as command
from scripts.cluster import build, dns, kind, native, process, runc, settings, volumes
from scripts.cluster.choice import choose, for_tests
from scripts.cluster.layout import CONTEXT, NODE_IP, Layout
from scripts.cluster.shell import Problem


@pytest.mark.parametrize(
    ("given", "context", "docker", "kind", "expected"),
    [
        (True, "cryptoai-test", True, True, "given"),
        (True, "kind-cryptoai-test", False, False, "given"),
        (True, "gke_cryptoai-test_eu", False, False, "given"),
        (False, None, True, True, "kind"),
        (False, "prod", True, True, "kind"),
        (False, None, True, False, "native"),
        (False, None, False, True, "native"),
        (False, None, False, False, "native"),
    ],
)
def test_the_cluster_is_chosen_by_what_is_there(
    given: bool, context: str | None, docker: bool, kind: bool, expected: str
) -> None:
    """A kubeconfig for tests first, then kind where Docker answers, then the native one."""
    assert choose(given, context, docker, kind).kind == expected


def test_the_kubeconfig_is_named_for_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that was given, if it may be used, else the one that `up` writes."""
    monkeypatch.setenv("CRYPTOAI_CACHE", str(tmp_path))
    monkeypatch.setattr(kind, "available", lambda: (False, False))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    command.kubeconfig()
    assert capsys.readouterr().out == f"{tmp_path}/cluster/kubeconfig\n"
    monkeypatch.setenv("KUBECONFIG", "/given")
    monkeypatch.setattr(command, "out", lambda _words: "cryptoai-test\n")
    command.kubeconfig()
    assert capsys.readouterr().out == "/given\n"


@pytest.mark.parametrize("context", ["prod", "kind-other", "my-kind-cryptoai", "cryptoai", "minikube", ""])
def test_a_context_not_named_for_tests_is_refused(context: str) -> None:
    """The message names the context, so that its owner knows what was spared."""
    assert not for_tests(context)
    with pytest.raises(Problem, match=f"'{context}', which is not named for tests"):
        choose(given=True, context=context, docker=True, kind=True)


def test_a_kubeconfig_without_a_context_is_refused() -> None:
    """It never falls through to another cluster than the one that was asked for."""
    with pytest.raises(Problem, match="no current context"):
        choose(given=True, context=None, docker=True, kind=True)


def test_the_command_refuses_a_kubeconfig_of_somebody_else(tmp_path: Path) -> None:
    """`up` and `load` end with one sentence and status 1 before anything is touched."""
    config = tmp_path / "config"
    config.write_text(settings.kubeconfig("t", b"ca").replace(CONTEXT, "production"))
    archive = tmp_path / "x.tar"
    for arguments in (["up"], ["status"], ["load", str(archive)]):
        done = subprocess.run(
            [sys.executable, "-m", "scripts.cluster", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(command.__file__).parents[2],
            env={**os.environ, "KUBECONFIG": str(config), "CRYPTOAI_CACHE": str(tmp_path / "cache")},
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: KUBECONFIG ")
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "cache").exists()


def test_our_own_kubeconfig_does_not_count_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `export KUBECONFIG=...` as `up` says, `up` and `load` still know the cluster as theirs."""
    monkeypatch.setenv("CRYPTOAI_CACHE", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(native.layout().kubeconfig))
    monkeypatch.setattr(kind, "available", lambda: (False, False))
    assert command.decide().kind == "native"


def test_a_binary_is_trusted_by_its_checksum_only(tmp_path: Path) -> None:
    """Missing, unrecorded and altered binaries are built again; recorded ones are not."""
    for name in build.BINARIES:
        (tmp_path / name).write_bytes(name.encode())
    assert build.unverified(tmp_path) == list(build.BINARIES)
    for number, name in enumerate(build.BINARIES):
        assert name in build.unverified(tmp_path)
        build.record(tmp_path, name)
        assert build.unverified(tmp_path) == list(build.BINARIES[number + 1 :])
    assert build.unverified(tmp_path) == []
    (tmp_path / "kubelet").write_bytes(b"something else")
    (tmp_path / "kube-proxy").unlink()
    assert build.unverified(tmp_path) == ["kube-proxy", "kubelet"]


def test_only_the_remembered_process_is_stopped(tmp_path: Path) -> None:
    """A file that names a living process with another start time or boot is not believed."""
    file = tmp_path / "pid"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        ours = process.remember(child.pid, file)
        assert process.recall(file) == ours
        for text in (f"{child.pid} {ours.started + 1} {ours.boot}", f"{child.pid} {ours.started} other", "", "1 2"):
            file.write_text(text)
            assert process.recall(file) is None
        assert process.stop(process.Remembered(child.pid, ours.started + 1, ours.boot))
        assert child.poll() is None
        assert process.stop(ours)
    finally:
        child.kill()
        child.communicate()
    assert process.start_time(child.pid) is None


def test_stopping_nothing_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`down` without a cluster says that there was none, and leaves binaries and images."""
    monkeypatch.setattr(native, "out", lambda _command: None)
    files = Layout(cache=tmp_path, binaries=tmp_path / "bin")
    files.binaries.mkdir()
    files.images.mkdir()
    assert native.down(files) is False
    assert files.binaries.is_dir()
    assert files.images.is_dir()


def test_the_kubeconfig_is_private_and_named_for_tests() -> None:
    """Its context passes our own gate and the authority is verified."""
    config = json.loads(settings.kubeconfig("secret", b"authority"))
    assert for_tests(config["current-context"])
    cluster = config["clusters"][0]["cluster"]
    assert cluster == {"server": f"https://{NODE_IP}:6443", "certificate-authority-data": "YXV0aG9yaXR5"}


def test_runc_is_asked_for_nothing_that_needs_a_capability(tmp_path: Path) -> None:
    """The wrapper removes the two settings from a bundle and from an exec, and nothing else."""
    bundle = {"process": {"oomScoreAdj": -998, "rlimits": [1], "args": ["x"]}, "linux": {"resources": {}}}
    file = tmp_path / "config.json"
    for value in (bundle, bundle["process"]):
        file.write_text(json.dumps(value))
        runc.strip(file)
        left = json.loads(file.read_text())
        assert left.get("process", left) == {"args": ["x"]}
    file.write_text(json.dumps(bundle))
    runc.strip(file)
    assert json.loads(file.read_text())["linux"] == {"resources": {}}


def thing(name: str, **rest: Any) -> dict[str, Any]:
    """A namespaced object of the API."""
    return {"metadata": {"name": name, "namespace": "bots", "uid": f"uid-{name}"}, **rest}


TABLE = dns.records(
    [thing("redis", spec={"clusterIP": "10.96.0.9"}), thing("bot", spec={"clusterIP": "None"})],
    [
        thing("redis", subsets=[{"addresses": [{"ip": "10.244.0.7"}]}]),
        thing("bot", subsets=[{"addresses": [{"ip": "10.244.0.8", "hostname": "bot-0"}, {"ip": "10.244.0.9"}]}]),
        thing("lonely"),
    ],
)


def query(name: str, kind: int = 1) -> bytes:
    """A DNS query as a resolver sends it (RFC 1035)."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", 77, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def test_services_have_their_names() -> None:
    """A service resolves to its address, a headless one to its pods, a named pod to itself."""
    assert TABLE == {
        "redis.bots.svc.cluster.local": ["10.96.0.9"],
        "bot.bots.svc.cluster.local": ["10.244.0.8", "10.244.0.9"],
        "bot-0.bot.bots.svc.cluster.local": ["10.244.0.8"],
    }


@pytest.mark.parametrize(
    ("name", "kind", "status", "addresses"),
    [
        ("redis.bots.svc.cluster.local", 1, 0, ["10.96.0.9"]),
        ("REDIS.bots.svc.cluster.LOCAL", 1, 0, ["10.96.0.9"]),
        ("bot.bots.svc.cluster.local", 1, 0, ["10.244.0.8", "10.244.0.9"]),
        ("redis.bots.svc.cluster.local", 28, 0, []),  # no IPv6 address, but the name exists
        ("redis.other.svc.cluster.local", 1, 3, []),
        ("example.com", 1, 3, []),
    ],
)
def test_a_query_is_answered(name: str, kind: int, status: int, addresses: list[str]) -> None:
    """Right status, the question repeated, one record for each address."""
    asked = query(name, kind)
    said = dns.answer(asked, TABLE)
    number, flags, questions, answers, _, _ = struct.unpack_from("!HHHHHH", said)
    assert (number, flags & 0xF, questions, answers) == (77, status, 1, len(addresses))
    assert said[12 : len(asked)] == asked[12:]
    assert [socket.inet_ntoa(said[at + 12 : at + 16]) for at in range(len(asked), len(said), 16)] == addresses


def test_unknown_names_are_not_denied_while_the_api_server_is_away() -> None:
    """SERVFAIL makes a resolver try again; NXDOMAIN would not."""
    assert dns.answer(query("redis.bots.svc.cluster.local"), None)[3] & 0xF == 2


def claim(name: str, storage: str = "standard", phase: str = "Pending") -> dict[str, Any]:
    """A PersistentVolumeClaim."""
    spec = {
        "storageClassName": storage,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return thing(name, spec=spec, status={"phase": phase})


def test_a_claim_is_served_once() -> None:
    """Only waiting claims of the default class that no volume refers to."""
    made = volumes.volume(claim("made"), Path("/v/pvc-uid-made"))
    waiting = [claim("new"), claim("made"), claim("bound", phase="Bound"), claim("other", storage="fast")]
    assert [c["metadata"]["name"] for c in volumes.unserved(waiting, [made])] == ["new"]
    assert made["spec"]["claimRef"]["uid"] == "uid-made"
    assert made["spec"]["local"] == {"path": "/v/pvc-uid-made"}
    assert made["spec"]["capacity"] == {"storage": "1Gi"}
