"""The cluster where Docker answers: its configuration against kind's own rules, and the commands that are given."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from scripts.cluster import kind
from scripts.cluster.choice import for_tests


class Strict(BaseModel):
    """kind refuses keys that it does not know; so do we."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Networking(Strict):
    """What of kind.x-k8s.io/v1alpha4 is used here."""

    address: str = Field(alias="apiServerAddress")


class KindNode(Strict):
    """One container."""

    role: str = Field(pattern="^(control-plane|worker)$")


class KindCluster(Strict):
    """The document."""

    kind: str = Field(pattern="^Cluster$")
    version: str = Field(alias="apiVersion", pattern=r"^kind\.x-k8s\.io/v1alpha4$")
    networking: Networking
    nodes: list[KindNode] = Field(min_length=1)


def test_the_configuration_is_one_that_kind_reads() -> None:
    """One node that is the control plane, its API server on loopback; its context passes as one for tests."""
    config = KindCluster.model_validate(yaml.safe_load(kind.CONFIG.read_text()))
    assert [node.role for node in config.nodes] == ["control-plane"]
    assert ipaddress.ip_address(config.networking.address).is_loopback
    assert for_tests(f"kind-{kind.NAME}")


class Machine:
    """A machine with Docker and kind: what was asked for, and the clusters that are there."""

    def __init__(self, *clusters: str) -> None:
        self.clusters = list(clusters)
        self.asked: list[str] = []

    def run(self, command: list[str | Path], **_: Any) -> str:
        words = [str(word) for word in command]
        self.asked.append(" ".join(words))
        name = words[words.index("--name") + 1]
        if words[:3] == ["kind", "create", "cluster"]:
            self.clusters.append(name)
        if words[:3] == ["kind", "delete", "cluster"]:
            self.clusters.remove(name)
        return ""

    def out(self, command: list[str]) -> str | None:
        return "\n".join(self.clusters) if command == ["kind", "get", "clusters"] else "v1"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine("somebody-elses")
    monkeypatch.setattr(kind, "run", made.run)
    monkeypatch.setattr(kind, "out", made.out)
    return made


def test_a_cluster_is_made_once(machine: Machine, tmp_path: Path) -> None:
    """From the configuration, waited for, with a kubeconfig of its own; the second time only that is written."""
    config = tmp_path / "cluster/kubeconfig"
    assert not kind.running()
    kind.up(config)
    create, export = machine.asked
    assert create == (
        f"kind create cluster --name cryptoai-test --config {kind.CONFIG} --wait 180s --kubeconfig {config}"
    )
    assert export == f"kind export kubeconfig --name cryptoai-test --kubeconfig {config}"
    assert config.parent.is_dir()
    kind.up(config)
    assert machine.asked[2:] == [export]


def test_only_our_cluster_is_deleted(machine: Machine, tmp_path: Path) -> None:
    """Nothing is, as long as there is none of ours; the others stay in any case."""
    assert kind.down() is False
    assert machine.asked == []
    kind.up(tmp_path / "kubeconfig")
    assert kind.down() is True
    assert machine.asked[-1] == "kind delete cluster --name cryptoai-test"
    assert machine.clusters == ["somebody-elses"]


def test_an_archive_is_loaded_into_our_cluster(machine: Machine) -> None:
    """Not into the one that kind takes by default."""
    kind.load(Path("/x/bot.tar"))
    assert machine.asked == ["kind load image-archive /x/bot.tar --name cryptoai-test"]


def test_docker_and_kind_are_looked_for_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client without its engine is no Docker."""
    said = {"docker": None, "kind": "v0"}
    monkeypatch.setattr(kind, "out", lambda command: said[command[0]])
    assert kind.available() == (False, True)
    said.update(docker="28", kind=None)
    assert kind.available() == (True, False)
