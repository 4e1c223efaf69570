"""Starts and stops the native cluster from outside: its namespaces, its cable, its binaries, and what is remembered.

Called by __main__.py. The node runs in namespaces of its own under one process: ending that process ends everything
that was started and unmounts everything that was mounted, and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from scripts.cluster import process
from scripts.cluster.build import RECIPE, SUITE, VERSION, ensure_binaries, unverified
from scripts.cluster.layout import HOST_IP, HOST_LINK, NODE_LINK, PREFIX, Layout
from scripts.cluster.shell import Problem, apt_install, cache_root, out, run, step

__all__ = ["build", "contents", "down", "forget", "layout", "load", "loaded", "obstacle", "running", "stale", "up"]

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "unshare": "util-linux",
    "mount": "mount",
    "openssl": "openssl",
    "gcc": "gcc",
}
SPACES = ("unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc", "--kill-child=KILL")
PATIENCE_S = 10.0
LABEL = "cryptoai.dev/config"
OURS = ("localhost/cryptoai/", "docker.io/cryptoai/")
CGROUPS = Path("/sys/fs/cgroup")


def layout() -> Layout:
    """The files of this machine's native cluster."""
    cache = cache_root()
    return Layout(cache=cache, binaries=cache / f"kubernetes-{VERSION}-{RECIPE}")


def running(files: Layout) -> bool:
    """Whether the node that we started runs and got ready."""
    return process.recall(files.pidfile) is not None and files.ready.exists()


def up(files: Layout) -> None:
    """From whatever there is to a ready cluster; does nothing if it runs."""
    if running(files):
        print("  it runs already", flush=True)
        return
    build(files)
    down(files)
    files.log.mkdir(parents=True)
    files.state.chmod(0o700)
    _start(files)


def build(files: Layout) -> None:
    """Everything that `up` starts, installed and compiled. Raises Problem if this machine cannot run it."""
    if why := obstacle(files):
        raise Problem(f"{why}; start Docker (kind is used then) or give a KUBECONFIG for tests")
    apt_install(PROGRAMS, ["containernetworking-plugins", "libc6-dev"])
    ensure_binaries(files.binaries)


def obstacle(files: Layout) -> str | None:
    """Why this machine cannot run the native cluster, or None; what is tried is cheap and leaves no trace."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "the native cluster needs Linux and root"
    if not _is_debian() and unverified(files.binaries):
        return f"the native cluster is built from the packages of Debian 12 ({SUITE}), which this machine is not"
    if out([*SPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]) is None:
        return "this machine does not let root make namespaces and mounts (unshare), which containers need"
    if not any(os.access(group / "cgroup.procs", os.W_OK) for group in (CGROUPS, *CGROUPS.glob("*"))):
        return f"this machine has no control groups below {CGROUPS} that can be written, which containers need"
    return None


def _is_debian() -> bool:
    release = Path("/etc/os-release")
    return release.is_file() and f"VERSION_CODENAME={SUITE}" in release.read_text().splitlines()


def down(files: Layout) -> bool:
    """Ends the node if it is ours, and removes its files (images stay); False if there was none."""
    found = process.recall(files.pidfile)
    if found and not process.stop(found):
        raise Problem(f"process {found.pid} does not end; look at it with ps -fp {found.pid}")
    _wait_for_cable_to_go()
    if found:
        _remove_empty_groups()
    shutil.rmtree(files.state, ignore_errors=True)
    return found is not None


def load(files: Layout, archive: Path) -> None:
    """Loads the image of a Docker archive into the cluster, if it is not there already."""
    ctr = _ctr(files)
    name, config = contents(archive)
    if not loaded(config, run([*ctr, "images", "ls", f"name=={name}"])):
        with step(f"loading {name.rpartition('/')[2]}"):
            run([*ctr, "images", "import", archive])
            run([*ctr, "images", "label", name, f"{LABEL}={config}"])


def contents(archive: Path) -> tuple[str, str]:
    """Name of the one image of a Docker archive, and the digest of its configuration, which stands for all of it."""
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json") or io.BytesIO())[0]
    return manifest["RepoTags"][0], "sha256:" + Path(manifest["Config"]).stem


def loaded(config: str, listed: str) -> bool:
    """Whether the image that `ctr images ls` shows bears the label of this configuration."""
    return any(f"{LABEL}={config}" in line.replace(",", " ").split() for line in listed.splitlines())


def forget(files: Layout, keep: set[str]) -> None:
    """Removes images of ours that `keep` does not name; what a container still uses of one stays until it ends."""
    ctr = _ctr(files)
    if old := stale(run([*ctr, "images", "ls"]), keep):
        with step(f"forgetting {len(old)} old images"):
            run([*ctr, "images", "rm", *old])  # containerd frees the space in its own time


def stale(listed: str, keep: set[str]) -> list[str]:
    """Of the images that `ctr images ls` shows: ours under other names, and what has no name but its digest.

    containerd keeps an image under its digest, too, and goes on doing so when its name moves to a newer one.
    """
    digests = {line[0]: line[2] for line in map(str.split, listed.splitlines()[1:])}
    old = {name for name in digests if name.startswith(OURS) and name not in keep}
    named = {digests[name] for name in digests if not name.startswith("sha256:") and name not in old}
    return sorted(old | {n for n in digests if n.startswith("sha256:") and digests[n] not in named})


def _ctr(files: Layout) -> list[str]:
    return ["ctr", "-a", str(files.socket), "-n", "k8s.io"]


def _remove_empty_groups() -> None:
    """The control groups of the pods that ended with the node; the kernel refuses to remove one that is in use."""
    for group in (*CGROUPS.glob("k8s.io"), *CGROUPS.glob("*/k8s.io")):
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def _start(files: Layout) -> None:
    said = files.log / "node.log"
    with said.open("wb") as log:
        node = subprocess.Popen(
            _command(files), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    remembered = process.remember(node.pid, files.pidfile)
    try:
        _lay_cable(node.pid)
        _relay(node, said, files.ready)
        if not files.ready.exists():
            raise Problem(f"the native cluster did not start; its logs are in {files.log}")
    except BaseException:
        process.stop(remembered)
        raise


def _command(files: Layout) -> list[str]:
    module = [sys.executable, "-m", "scripts.cluster.node"]
    return [*SPACES, *module, "--cache", str(files.cache), "--binaries", str(files.binaries)]


def _lay_cable(pid: int) -> None:
    """A veth pair between the machine and the node's network namespace; it goes away with the namespace."""
    ours = Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        if time.monotonic() > deadline:
            raise Problem("this machine does not let us make a network namespace (unshare --net)")
        time.sleep(0.01)
    run(["ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", NODE_LINK, "netns", str(pid)])
    run(["ip", "address", "add", f"{HOST_IP}/{PREFIX}", "dev", HOST_LINK])
    run(["ip", "link", "set", HOST_LINK, "up"])


def _relay(node: subprocess.Popen[bytes], said: Path, ready: Path) -> None:
    """Shows what the node says, until it is ready or ends."""
    with said.open("rb") as log:
        while not ready.exists() and node.poll() is None:
            sys.stdout.write(log.read().decode(errors="replace"))
            sys.stdout.flush()
            time.sleep(0.1)
        sys.stdout.write(log.read().decode(errors="replace"))


def _wait_for_cable_to_go() -> None:
    """The kernel removes it a moment after the namespace's last process."""
    deadline = time.monotonic() + PATIENCE_S
    while out(["ip", "link", "show", HOST_LINK]) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
