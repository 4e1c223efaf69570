"""What the native cluster decides: whether it can run here, what is compiled again, which images are old."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.cluster import __main__ as command
from scripts.cluster import build, kind, native
from scripts.cluster.layout import Layout
from scripts.cluster.shell import Problem


@pytest.fixture
def files(tmp_path: Path) -> Layout:
    return Layout(cache=tmp_path, binaries=tmp_path / f"kubernetes-{build.VERSION}-{build.RECIPE}")


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine on which nothing stands in the way; a test takes one thing away."""
    (tmp_path / "cgroup/cpu").mkdir(parents=True)
    (tmp_path / "cgroup/cpu/cgroup.procs").touch()
    monkeypatch.setattr(native, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(native, "_is_debian", lambda: True)
    monkeypatch.setattr(native, "out", lambda _words: "")
    monkeypatch.setattr(native.os, "geteuid", lambda: 0)
    monkeypatch.setattr(native.sys, "platform", "linux")
    return monkeypatch


def test_an_able_machine_has_no_obstacle(able: pytest.MonkeyPatch, files: Layout) -> None:
    """The other cases each take away one thing of this one."""
    assert native.obstacle(files) is None


def test_each_obstacle_is_named(able: pytest.MonkeyPatch, files: Layout) -> None:
    """Root, Linux, Debian, namespaces and control groups: one sentence each, and nothing is built."""
    cases: list[tuple[Any, str, Any, str]] = [
        (native.os, "geteuid", lambda: 1000, "needs Linux and root"),
        (native.sys, "platform", "darwin", "needs Linux and root"),
        (native, "_is_debian", lambda: False, "packages of Debian 12"),
        (native, "out", lambda _words: None, "namespaces and mounts"),
        (native, "CGROUPS", files.cache / "nowhere", "control groups"),
    ]
    for owner, name, value, said in cases:
        with able.context() as change:
            change.setattr(owner, name, value)
            assert said in (native.obstacle(files) or "")
            with pytest.raises(Problem, match=f"{said}.*; start Docker"):
                native.build(files)
    assert native.obstacle(files) is None


def test_whether_a_cluster_is_possible_is_an_exit_code(
    able: pytest.MonkeyPatch, files: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 and silence, or 3 and the reason: no other failure can be mistaken for it."""
    able.delenv("KUBECONFIG", raising=False)
    able.setenv("CRYPTOAI_CACHE", str(files.cache))
    able.setattr(kind, "available", lambda: (False, False))
    command.possible()
    assert capsys.readouterr().out == ""
    able.setattr(native, "obstacle", lambda _files: "there is no moon")
    with pytest.raises(SystemExit) as end:
        command.possible()
    assert (end.value.code, capsys.readouterr().out) == (3, "there is no moon\n")
    able.setattr(kind, "available", lambda: (True, True))
    command.possible()


def test_binaries_of_an_earlier_build_need_no_debian(able: pytest.MonkeyPatch, files: Layout) -> None:
    """Only compiling needs its packages' source."""
    able.setattr(native, "_is_debian", lambda: False)
    files.binaries.mkdir()
    for name in build.BINARIES:
        (files.binaries / name).write_text(name)
        build.record(files.binaries, name)
    assert native.obstacle(files) is None


class Builder:
    """Stands in for apt and the compiler; dies at the step it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.dies_at = ""
        monkeypatch.setattr(build, "apt_install", lambda *_: None)
        monkeypatch.setattr(build, "_unpack", self.unpack)
        monkeypatch.setattr(build, "_generate_openapi", lambda *_: self.do("generate"))
        monkeypatch.setattr(build, "_compile", self.compile)

    def do(self, step: str) -> None:
        if step == self.dies_at:
            raise KeyboardInterrupt
        self.steps.append(step)

    def unpack(self, tree: Path, _work: Path) -> None:
        tree.mkdir(parents=True)  # would fail on what an earlier run left
        self.do("unpack")

    def compile(self, name: str, _tree: Path, folder: Path, _env: dict[str, str]) -> None:
        self.do(name)
        (folder / name).write_text(name)


@pytest.mark.parametrize(
    ("dies_at", "done_again"),
    [("unpack", ["unpack", "generate"]), ("generate", ["unpack", "generate"]), ("kube-scheduler", [])],
)
def test_a_build_that_was_cut_short_goes_on(
    dies_at: str, done_again: list[str], files: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An incomplete source is made anew, a complete one is used, and no binary is compiled twice; nothing is left."""
    builder = Builder(monkeypatch)
    builder.dies_at = dies_at
    (files.cache / f"kubernetes-{build.VERSION}-older").mkdir()
    with pytest.raises(KeyboardInterrupt):
        build.ensure_binaries(files.binaries)
    before, builder.steps, builder.dies_at = builder.steps, [], ""
    build.ensure_binaries(files.binaries)
    assert builder.steps == done_again + [name for name in build.BINARIES if name not in before]
    assert build.unverified(files.binaries) == []
    assert [path.name for path in files.cache.iterdir()] == [files.binaries.name]
    builder.steps.clear()
    build.ensure_binaries(files.binaries)
    assert builder.steps == []


def test_the_source_comes_from_the_machines_own_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """apt is asked again after an update, for it knows nothing before its first; another Debian is refused."""
    lists = {"now": ""}
    updates: list[str] = []

    def update(words: list[str]) -> str:
        updates.append(" ".join(words))
        lists["now"] = "Debian|bookworm-updates|main|http://a/\nDebian|bookworm|main|http://mirror/debian/\n"
        return ""

    monkeypatch.setattr(build, "out", lambda _words: lists["now"])
    monkeypatch.setattr(build, "run", update)
    for _ in range(2):
        assert build._source_line().split()[2:] == ["http://mirror/debian/", "bookworm", "main"]
    assert updates == ["apt-get update -q"]
    lists["now"] = "Debian|trixie|main|http://mirror/debian/\n"
    with pytest.raises(Problem, match="needs Debian 12"):
        build._source_line()


LISTED = """REF TYPE DIGEST SIZE PLATFORMS LABELS
cryptoai.dev/pause:1 t sha256:p 1 MiB linux/amd64 -
docker.io/cryptoai/bot:0.1.0 t sha256:older 1 MiB linux/amd64 -
docker.io/library/other:1 t sha256:o 1 MiB linux/amd64 -
localhost/cryptoai/bot:0.1.0 t sha256:new 1 MiB linux/amd64 -
localhost/cryptoai/bot:0.0.9 t sha256:shared 1 MiB linux/amd64 -
localhost/cryptoai/serve:0.1.0 t sha256:shared 1 MiB linux/amd64 -
sha256:1 t sha256:p 1 MiB linux/amd64 -
sha256:2 t sha256:new 1 MiB linux/amd64 -
sha256:3 t sha256:before 1 MiB linux/amd64 -
sha256:4 t sha256:older 1 MiB linux/amd64 -
sha256:5 t sha256:shared 1 MiB linux/amd64 -
"""


def test_what_no_name_refers_to_is_old() -> None:
    """Ours under other names, and digests without a name; somebody else's image is not ours to remove."""
    keep = {"localhost/cryptoai/bot:0.1.0", "localhost/cryptoai/serve:0.1.0"}
    old = ["docker.io/cryptoai/bot:0.1.0", "localhost/cryptoai/bot:0.0.9", "sha256:3", "sha256:4"]
    assert native.stale(LISTED, keep) == old
    left = "".join(line + "\n" for line in LISTED.splitlines() if line.split()[0] not in old)
    assert native.stale(left, keep) == []


def test_nothing_is_asked_of_containerd_without_need(files: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look when all is new, one removal of all that is not."""
    asked: list[list[str]] = []

    def answer(words: list[str]) -> str:
        asked.append(words[words.index("images") :])
        return LISTED

    monkeypatch.setattr(native, "run", answer)
    native.forget(files, {"localhost/cryptoai/bot:0.1.0", "localhost/cryptoai/serve:0.1.0"})
    assert [words[:2] for words in asked] == [["images", "ls"], ["images", "rm"]]
    assert asked[1][2:] == native.stale(LISTED, {"localhost/cryptoai/bot:0.1.0", "localhost/cryptoai/serve:0.1.0"})


def test_a_kubelet_in_haste_is_made_of_the_source_it_was_found_in(tmp_path: Path) -> None:
    """Each wait is shortened once; another source is refused by the file's name."""
    for name, (slow, _) in build.HASTE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"const {slow}")
    build.hasten(tmp_path)
    assert [(tmp_path / name).read_text() for name in build.HASTE] == [f"const {q}" for _, q in build.HASTE.values()]
    with pytest.raises(Problem, match=r"kubelet\.go"):
        build.hasten(tmp_path)
