"""The node of the native cluster: the first process of its own namespaces, which starts every part and keeps them.

Started by native.py under unshare(1), so that whatever runs here (containers too) sees its own network, mounts and
process numbers, and ends at once when this process does. It must never change anything outside those namespaces but the
folders of its Layout.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scripts.cluster import dns, settings, volumes
from scripts.cluster.api import Api
from scripts.cluster.certs import make_certificates
from scripts.cluster.layout import ETCD, NODE, NODE_IP, NODE_LINK, PREFIX, SERVICES, Layout
from scripts.cluster.pause import ensure_pause
from scripts.cluster.shell import Problem, main, out, run, step

PATIENCE_S = 60.0
CAP_SYS_RESOURCE = 24
# Folders of the machine that the parts write to by habit: in here they are ours.
PRIVATE = ("/run/containerd", "/var/lib/cni", "/var/log/pods", "/var/log/containers")


class Node:
    """The parts by name, with the files they write."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.state = layout, layout.state
        self.parts: dict[int, str] = {}

    def start(self, name: str, *command: str | Path) -> None:
        """Starts a part, its output in log/NAME.log."""
        with (self.layout.log / f"{name}.log").open("ab") as log:
            part = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.state
            )
        self.parts[part.pid] = name

    def stop(self, name: str) -> None:
        """Ends a part and waits for its end."""
        pid = next(pid for pid, part in self.parts.items() if part == name)
        os.kill(pid, signal.SIGTERM)
        while name not in self.reap():
            time.sleep(0.02)

    def wait_for(self, name: str, probe: Callable[[], bool]) -> None:
        """Until `probe` holds. Raises Problem with the end of the part's log when it ends or takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not probe():
            if name not in self.reap() and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            tail = (self.layout.log / f"{name}.log").read_text(errors="replace").strip().splitlines()[-5:]
            raise Problem(
                f"{name} did not come up; the end of {self.layout.log / name}.log:\n    " + "\n    ".join(tail)
            )

    def reap(self) -> list[str]:
        """Collects processes that ended (orphans come to us, the first process); names the parts among them."""
        ended: list[str] = []
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if not pid:
                return ended
            if name := self.parts.pop(pid, None):
                ended.append(name)


def prepare(layout: Layout) -> None:
    """The namespaces' own network, mounts and files."""
    run(["mount", "--make-rshared", "/"])
    for number, path in enumerate(PRIVATE):
        ours = layout.state / "private" / str(number)
        ours.mkdir(parents=True)
        Path(path).mkdir(parents=True, exist_ok=True)
        run(["mount", "--bind", ours, path])
    run(["ip", "link", "set", "lo", "up"])
    _wait_until(lambda: out(["ip", "link", "show", NODE_LINK]) is not None, f"the cable {NODE_LINK} did not appear")
    run(["ip", "address", "add", f"{NODE_IP}/{PREFIX}", "dev", NODE_LINK])
    run(["ip", "link", "set", NODE_LINK, "up"])
    # Nothing reaches beyond this machine, and what tries (the kubelet asks clouds for credentials) knows at once.
    run(["ip", "route", "add", "unreachable", "default"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    (layout.state / "resolv.conf").write_text("")
    (layout.state / "cni").mkdir()
    make_certificates(layout.state / "certs")
    ensure_pause(layout.cache / "pause.tar")
    _write_settings(layout)


def _write_settings(layout: Layout) -> None:
    token = secrets.token_hex(16)
    state = layout.state
    texts = {
        "tokens.csv": f"{token},admin,1,system:masters\n",
        "kubeconfig": settings.kubeconfig(token, (state / "certs/ca.crt").read_bytes()),
        "kubelet.json": settings.kubelet(layout),
        "kube-proxy.json": settings.kube_proxy(layout),
        "containerd.toml": settings.containerd(layout, _runtime()),
        "cni/10-pods.conflist": settings.cni(),
    }
    for name, text in texts.items():
        file = state / name
        file.touch(mode=0o600)
        file.write_text(text)


def _runtime() -> str:
    """runc itself, or what stands in for it where the machine withholds CAP_SYS_RESOURCE."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    capable = int(status["CapEff"], 16) >> CAP_SYS_RESOURCE & 1
    return "runc" if capable else str(Path(__file__).with_name("runc.py"))


def control_plane(node: Node) -> Api:
    """etcd, the API server and its controllers."""
    state, binaries = node.state, node.layout.binaries
    certs = state / "certs"
    node.start("etcd", "etcd", "--data-dir", state / "etcd", "--unsafe-no-fsync", "--listen-client-urls", ETCD,
               "--advertise-client-urls", ETCD, "--listen-peer-urls", "http://127.0.0.1:2380")  # fmt: skip
    node.start("kube-apiserver", binaries / "kube-apiserver", "--etcd-servers", ETCD, "--bind-address", "0.0.0.0",  # noqa: S104
               "--advertise-address", NODE_IP, "--secure-port", "6443", "--insecure-port", "0",
               "--tls-cert-file", certs / "server.crt", "--tls-private-key-file", certs / "server.key",
               "--client-ca-file", certs / "ca.crt", "--kubelet-client-certificate", certs / "client.crt",
               "--kubelet-client-key", certs / "client.key", "--kubelet-preferred-address-types", "InternalIP",
               "--service-account-key-file", certs / "sa.pub", "--service-account-signing-key-file", certs / "sa.key",
               "--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
               "--token-auth-file", state / "tokens.csv", "--authorization-mode", "Node,RBAC",
               "--service-cluster-ip-range", SERVICES, "--allow-privileged")  # fmt: skip
    api = Api(node.layout.kubeconfig)
    node.wait_for("kube-apiserver", lambda: _answers(api, "/readyz") == "ok")
    config = node.layout.kubeconfig
    node.start("kube-controller-manager", binaries / "kube-controller-manager", "--kubeconfig", config,
               "--service-account-private-key-file", certs / "sa.key", "--root-ca-file", certs / "ca.crt",
               "--use-service-account-credentials", "--leader-elect=false",
               "--port", "0", "--secure-port", "0")  # fmt: skip
    node.start("kube-scheduler", binaries / "kube-scheduler", "--kubeconfig", config,
               "--leader-elect=false", "--port", "0", "--secure-port", "0")  # fmt: skip
    return api


def containers(node: Node) -> None:
    """containerd, with nothing of an earlier run but its images."""
    ctr = ["ctr", "-a", str(node.layout.socket), "-n", "k8s.io"]
    _containerd(node, ctr)
    if left := run([*ctr, "containers", "ls", "-q"]).split():
        run([*ctr, "containers", "rm", *left])
        node.stop("containerd")  # it read them when it started, and would report them as pods
        _containerd(node, ctr)
    run([*ctr, "images", "import", node.layout.cache / "pause.tar"])


def _containerd(node: Node, ctr: list[str]) -> None:
    node.start("containerd", "containerd", "-c", node.state / "containerd.toml")
    node.wait_for("containerd", lambda: out([*ctr, "version"]) is not None)


def machine(node: Node, api: Api) -> None:
    """kubelet and kube-proxy, until the node is ready and the default service account is there."""
    binaries, state, socket = node.layout.binaries, node.state, f"unix://{node.layout.socket}"
    node.start("kubelet", binaries / "kubelet", "--kubeconfig", node.layout.kubeconfig,
               "--config", state / "kubelet.json", "--root-dir", state / "kubelet", "--cert-dir", state / "kubelet/pki",
               "--container-runtime", "remote",
               "--container-runtime-endpoint", socket, "--image-service-endpoint", socket,
               "--hostname-override", NODE, "--node-ip", NODE_IP)  # fmt: skip
    node.start("kube-proxy", binaries / "kube-proxy", "--config", state / "kube-proxy.json")
    node.wait_for("kubelet", lambda: _node_ready(_answers(api, f"/api/v1/nodes/{NODE}")))
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    node.wait_for("kube-controller-manager", lambda: _answers(api, account) is not None)


def addons(node: Node, api: Api) -> None:
    """The names of services and the folders of claims, as threads of this process."""
    api.create("/apis/storage.k8s.io/v1/storageclasses", settings.storage_class())
    serve_names = threading.Thread(target=dns.serve, args=(NODE_IP, dns.Names(api)), daemon=True)
    serve_volumes = threading.Thread(target=volumes.serve, args=(api, node.state / "volumes"), daemon=True)
    serve_names.start()
    serve_volumes.start()


def _answers(api: Api, path: str) -> object:
    try:
        return api.call("GET", path)
    except OSError:
        return None


def _node_ready(answer: object) -> bool:
    conditions = answer["status"].get("conditions", []) if isinstance(answer, dict) else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _wait_until(holds: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise Problem(problem)
        time.sleep(0.05)


def keep(node: Node) -> None:
    """Collects what ends, until a part does; then the whole node ends, so that nothing half alive is left."""
    while not (ended := node.reap()):
        time.sleep(0.5)
    raise Problem(f"{' and '.join(ended)} ended; see {node.layout.log}")


def bring_up() -> None:
    """From empty namespaces to a ready node, then for ever."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--binaries", type=Path, required=True)
    layout = Layout(**vars(parser.parse_args()))
    node = Node(layout)
    with step("preparing the node's network, mounts and certificates"):
        prepare(layout)
    with step("starting containerd"):
        containers(node)
    with step("starting the control plane"):
        api = control_plane(node)
    with step("starting the node"):
        machine(node, api)
        addons(node, api)
    layout.ready.touch()
    keep(node)


if __name__ == "__main__":
    sys.exit(main(bring_up))
