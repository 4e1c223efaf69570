"""Names and addresses of the native cluster, in one place.

The node lives in a network namespace of its own: what is written here can clash with nothing on the machine but the two
addresses of the cable between them, which come from the range that RFC 2544 keeps for benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "API",
    "CONTEXT",
    "DNS_DOMAIN",
    "HOST_IP",
    "HOST_LINK",
    "NODE",
    "NODE_IP",
    "NODE_LINK",
    "PAUSE",
    "PODS",
    "SERVICES",
    "Layout",
]

CONTEXT = "cryptoai-test"
NODE = "node1"
HOST_IP, NODE_IP, PREFIX = "198.18.77.1", "198.18.77.2", 30
HOST_LINK, NODE_LINK = "cryptoai-host", "cryptoai-node"
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
API = f"https://{NODE_IP}:6443"
ETCD = "http://127.0.0.1:2379"
DNS_DOMAIN = "cluster.local"
PAUSE = "cryptoai.dev/pause:1"


@dataclass(frozen=True)
class Layout:
    """Where the native cluster keeps its files, below one folder of the cache."""

    cache: Path
    binaries: Path

    @property
    def state(self) -> Path:
        """Everything of the running cluster; made anew at every start."""
        return self.cache / "cluster"

    @property
    def images(self) -> Path:
        """containerd's root, kept between starts so that images need not be loaded again."""
        return self.cache / "containerd"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def pidfile(self) -> Path:
        return self.state / "node.pid"

    @property
    def log(self) -> Path:
        return self.state / "log"

    @property
    def socket(self) -> Path:
        return self.state / "containerd.sock"

    @property
    def ready(self) -> Path:
        return self.state / "ready"
