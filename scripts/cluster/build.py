"""Builds Kubernetes from Debian's source package, once, and keeps the binaries under their checksums.

Called by native.py. The source is verified by apt against the signed index; a binary is used only if it still has the
sha256 that was recorded when it was built. A build that was cut short goes on where it stopped. It must never
change the machine's own apt sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from scripts.cluster.shell import Problem, apt_install, out, require_space, run, sha256, step

__all__ = ["BINARIES", "RECIPE", "SUITE", "VERSION", "ensure_binaries", "hasten", "record", "unverified"]

VERSION = "1.20.2"
BINARIES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
SUMS = "SHA256SUMS"
BUILD_GB = 4
SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
GO = "/usr/lib/go-1.19/bin"
REFLECT2 = "vendor/github.com/modern-go/reflect2"
VENDOR = "k8s.io/kubernetes/vendor/k8s.io"
STAMP = {
    "gitVersion": f"v{VERSION}",
    "gitMajor": "1",
    "gitMinor": "20",
    "gitTreeState": "clean",
    "buildDate": "2021-01-13T13:20:00Z",
}
# Two fifths of the code that would be compiled are clients of clouds and of Docker; a test's node meets neither.
TAGS = "providerless,dockerless"
# A pod of 1.20 is gone only when its sandbox was collected as garbage and its status looked at again: once in 60
# and once in 10 seconds. Later versions collect it at once.
HASTE = {
    "pkg/kubelet/kubelet.go": ("ContainerGCPeriod = time.Minute\n", "ContainerGCPeriod = 2 * time.Second\n"),
    "pkg/kubelet/status/status_manager.go": ("syncPeriod = 10 * time.Second\n", "syncPeriod = 2 * time.Second\n"),
}
# Of the project's own code only, so that Go's library is taken as Debian compiled it; the linker drops these anyway.
NO_DEBUG_DATA = "k8s.io/kubernetes/...=-dwarf=false"
# Other binaries than those of another recipe, so kept under another name.
RECIPE = hashlib.sha256(repr((STAMP, TAGS, HASTE, NO_DEBUG_DATA)).encode()).hexdigest()[:8]


def unverified(folder: Path) -> list[str]:
    """The binaries that are missing in `folder` or differ from the checksum recorded there."""
    recorded = _read_sums(folder)
    return [n for n in BINARIES if not (folder / n).is_file() or recorded.get(n) != sha256(folder / n)]


def ensure_binaries(folder: Path) -> None:
    """Leaves every binary in `folder` verified, building those that are not; then older ones beside it are removed."""
    with step("checking the cached Kubernetes binaries"):
        wanted = unverified(folder)
    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    require_space(folder, BUILD_GB, "compiling Kubernetes")
    apt_install(
        {"gcc": "gcc", "dpkg-source": "dpkg-dev"},
        ["golang-1.19-go", "golang-github-modern-go-reflect2-dev", "libc6-dev"],
    )
    work = folder.with_name(f"{folder.name}.build")
    env = _environment(work)
    tree = _source(work, env)
    for name in wanted:
        with step(f"compiling {name}"):
            _compile(name, tree, folder, env)
        record(folder, name)
    for old in folder.parent.glob(f"kubernetes-{VERSION}*"):
        if old != folder:
            shutil.rmtree(old)


def _read_sums(folder: Path) -> dict[str, str]:
    file = folder / SUMS
    lines = file.read_text().splitlines() if file.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def record(folder: Path, name: str) -> None:
    """Writes the checksum of one more binary, in the format of sha256sum(1), so that a person can check it too."""
    recorded = {**_read_sums(folder), name: sha256(folder / name)}
    draft = folder / (SUMS + ".part")
    draft.write_text("".join(f"{digest}  {file}\n" for file, digest in sorted(recorded.items())))
    draft.replace(folder / SUMS)


def _source(work: Path, env: dict[str, str]) -> Path:
    """The source where GOPATH wants it, complete: what an earlier run left half done is made anew."""
    tree, complete = work / "gopath/src/k8s.io/kubernetes", work / "source-complete"
    if not complete.is_file():
        for part in ("gopath", "lists", "download"):
            shutil.rmtree(work / part, ignore_errors=True)
        _unpack(tree, work)
        _generate_openapi(tree, work, env)
        complete.touch()
    return tree


def _unpack(tree: Path, work: Path) -> None:
    """Downloads and unpacks the source."""
    tree.mkdir(parents=True)
    with step(f"downloading the source of Kubernetes {VERSION}"):
        _download(work)
    with step("unpacking it"):
        archive = _archive(work)
        run(["tar", "xf", archive, "-C", tree, "--strip-components=1"])
        # reflect2 1.0.1, which the source carries, crashes the API server under Go 1.18 and later.
        shutil.rmtree(tree / REFLECT2)
        newer = Path("/usr/share/gocode/src/github.com/modern-go/reflect2")
        shutil.copytree(newer, tree / REFLECT2, ignore=shutil.ignore_patterns("*_test.go"))
        shutil.rmtree(work / "download")
        hasten(tree)


def hasten(tree: Path) -> None:
    """Shortens the waits of `HASTE`. Raises Problem where the source is not the one that they were found in."""
    for name, (slow, quick) in HASTE.items():
        text = (tree / name).read_text()
        if text.count(slow) != 1:
            raise Problem(
                f"{name} of Kubernetes {VERSION} is not as expected; look at HASTE in scripts/cluster/build.py"
            )
        (tree / name).write_text(text.replace(slow, quick))


def _download(work: Path) -> None:
    """`apt-get source` with lists of its own: the same mirror and key as this machine's, nothing of it changed."""
    lists = work / "lists"
    (lists / "partial").mkdir(parents=True)
    (work / "download").mkdir()
    sources = work / "source.list"
    sources.write_text(_source_line())
    options = [f"-oDir::Etc::SourceList={sources}", "-oDir::Etc::SourceParts=-", f"-oDir::State::Lists={lists}"]
    options += ["-oAPT::Sandbox::User=root", "-oAPT::Update::Error-Mode=any"]
    run(["apt-get", *options, "update", "-q"])
    run(["apt-get", *options, "source", "-q", "--download-only", "kubernetes"], cwd=work / "download")


def _archive(work: Path) -> Path:
    found = list((work / "download").glob(f"kubernetes_*{VERSION}*.orig.tar.*"))
    if not found:
        raise Problem(f"Debian's source package is no longer Kubernetes {VERSION}; use Docker and kind")
    return found[0]


def _source_line() -> str:
    """A deb-src line for the mirror that this machine already uses for Debian's main component."""
    shape = "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)"
    ask = ["apt-get", "indextargets", "--format", shape, "Identifier: Packages"]
    for line in (out(ask) or "").splitlines() or _after_update(ask):
        if line.startswith(f"Debian|{SUITE}|main|"):
            return f"deb-src [signed-by={KEYRING}] {line.split('|')[-1]} {SUITE} main\n"
    raise Problem(f"the native cluster needs Debian 12 ({SUITE}): apt knows no such source here; use Docker and kind")


def _after_update(ask: list[str]) -> list[str]:
    """apt knows what its sources hold only after it has looked."""
    run(["apt-get", "update", "-q"])
    return (out(ask) or "").splitlines()


def _environment(work: Path) -> dict[str, str]:
    path = f"{GO}:{os.environ.get('PATH', '')}"
    places = {"GOPATH": str(work / "gopath"), "GOCACHE": str(work / "compiled"), "PATH": path}
    # The kubelet needs cgo; with it for all, what they share is compiled once. GOGC: memory is there, cores are few.
    return {**places, "GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": "1", "GOGC": "400"}


def _generate_openapi(tree: Path, work: Path, env: dict[str, str]) -> None:
    """Makes pkg/generated/openapi, which the source package leaves out."""
    with step("generating its OpenAPI definitions"):
        tool = work / "openapi-gen"
        run(["go", "build", "-o", tool, f"{VENDOR}/kube-openapi/cmd/openapi-gen"], cwd=tree, env=env)
        folders = ",".join(_openapi_packages(tree))
        header = "hack/boilerplate/boilerplate.generatego.txt"
        target = ["-p", "k8s.io/kubernetes/pkg/generated/openapi", "-O", "zz_generated.openapi"]
        run([tool, "--logtostderr", "-i", folders, *target, "-h", header, "-r", work / "violations"], cwd=tree, env=env)


def _openapi_packages(tree: Path) -> list[str]:
    """Every Go package with a type marked `+k8s:openapi-gen`, by import path."""
    skipped = ("zz_generated", "code-generator", "sample-apiserver", "/kube-openapi/")
    found = set()
    for root in ("pkg", "cmd", "staging", "vendor/k8s.io"):
        for file in (tree / root).rglob("*.go"):
            name = str(file.relative_to(tree))
            if not any(part in name for part in skipped) and b"+k8s:openapi-gen=" in file.read_bytes():
                found.add("k8s.io/kubernetes/" + os.path.dirname(name).replace("staging/src/", "vendor/"))  # noqa: PTH120
    return sorted(found)


def _compile(name: str, tree: Path, folder: Path, env: dict[str, str]) -> None:
    stamps = [
        f"-X {VENDOR}/{p}.{k}={v}"
        for p in ("component-base/version", "client-go/pkg/version")
        for k, v in STAMP.items()
    ]
    flags = " ".join(["-s", "-w", *stamps])
    draft = folder / f"{name}.part"
    package = f"k8s.io/kubernetes/cmd/{name}"
    smaller = ["-tags", TAGS, "-gcflags", NO_DEBUG_DATA, "-ldflags", flags]
    run(["go", "build", *smaller, "-o", draft, package], cwd=tree, env=env)
    draft.replace(folder / name)
