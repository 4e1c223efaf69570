"""The cluster where a Docker engine answers: kind, with the configuration in manifests/kind/.

Called by __main__.py. It must never touch a kind cluster of another name.
"""

from __future__ import annotations

from pathlib import Path

from scripts.cluster.shell import out, run, step

__all__ = ["NAME", "available", "down", "load", "running", "up"]

NAME = "cryptoai-test"
CONFIG = Path(__file__).resolve().parents[2] / "manifests/kind/cluster.yaml"


def available() -> tuple[bool, bool]:
    """Whether a Docker engine answers, and whether kind is installed."""
    return out(["docker", "info", "--format", "{{.ServerVersion}}"]) is not None, out(["kind", "version"]) is not None


def running() -> bool:
    """Whether our kind cluster is there."""
    return NAME in (out(["kind", "get", "clusters"]) or "").split()


def up(kubeconfig: Path) -> None:
    """Makes the cluster if it is not there, and writes its kubeconfig."""
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    if not running():
        with step("creating the kind cluster"):
            run(
                [
                    "kind",
                    "create",
                    "cluster",
                    "--name",
                    NAME,
                    "--config",
                    CONFIG,
                    "--wait",
                    "180s",
                    "--kubeconfig",
                    kubeconfig,
                ]
            )
    run(["kind", "export", "kubeconfig", "--name", NAME, "--kubeconfig", kubeconfig])


def down() -> bool:
    """Deletes our kind cluster; False if there was none."""
    if not running():
        return False
    run(["kind", "delete", "cluster", "--name", NAME])
    return True


def load(archive: Path) -> None:
    """Loads the images of a docker archive into the cluster's node."""
    run(["kind", "load", "image-archive", archive, "--name", NAME])
