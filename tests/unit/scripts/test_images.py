"""What scripts/images.py and scripts/tools.py decide: when an image is new, what is mounted, which download is used."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from scripts import images, tools
from scripts.cluster import native
from scripts.cluster.shell import Problem

ROOT = Path(images.__file__).resolve().parents[1]


def test_every_role_has_its_image() -> None:
    """Redis, operator, bot and serve, under a name that no registry answers to, tagged with the version."""
    names = [image.reference for image in images.IMAGES]
    assert names == [f"localhost/cryptoai/{n}:{images.version()}" for n in ("redis", "operator", "bot", "serve")]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", images.version())
    assert {image.name: image.limit_mb for image in images.IMAGES if image.installs} == {
        "operator": 200,
        "bot": 850,
        "serve": 1100,
    }


def test_what_is_copied_is_what_the_key_covers() -> None:
    """A file that the Dockerfile copies and the key forgot would leave an old image in place."""
    for image in images.IMAGES:
        text = (ROOT / image.dockerfile).read_text().replace("\\\n", " ")
        steps = [step for step in re.findall(r"^COPY (.*)$", text, re.MULTILINE) if "--from" not in step]
        for source in (word for step in steps for word in step.split()[:-1]):
            assert any(Path(source).is_relative_to(name) for name in image.inputs), source
        assert image.dockerfile in image.inputs


def test_an_image_is_new_when_anything_in_it_is(tmp_path: Path) -> None:
    """Content, name, mode, role and base count; caches and dates do not."""
    (tmp_path / "code").mkdir()
    file = tmp_path / "code/a.py"
    file.write_text("1")
    image = images.Image("bot", "Dockerfile", ("code",))

    def key() -> str:
        return images.content_key(image, tmp_path, "base")

    first = key()
    (tmp_path / "code/__pycache__").mkdir()
    (tmp_path / "code/__pycache__/a.pyc").write_text("x")
    file.touch()
    assert key() == first
    seen = {first, images.content_key(image, tmp_path, "other base")}
    seen.add(images.content_key(images.Image("serve", "Dockerfile", ("code",)), tmp_path, "base"))
    file.chmod(0o755)
    seen.add(key())
    file.write_text("2")
    seen.add(key())
    file.rename(tmp_path / "code/b.py")
    seen.add(key())
    assert len(seen) == 6


def test_pip_in_a_build_is_told_what_pip_here_knows(tmp_path: Path) -> None:
    """Later sources win, and every local path is mounted; a local index with the files beside it."""
    wheels, index, authority = tmp_path / "wheels", tmp_path / "mirror/simple", tmp_path / "ca.crt"
    wheels.mkdir()
    index.mkdir(parents=True)
    authority.touch()
    listed = [
        "global.find-links='/somewhere/else'",
        f"global.extra-index-url='file://{index} https://packages.example/simple'",
        f"site.cert='{authority}'",
        "install.user='true'",
        f":env:.find-links='{wheels}'",
    ]
    text, paths = images.pip_settings("\n".join(listed))
    assert text.splitlines() == [
        "[global]",
        f"find-links = {wheels}",
        f"extra-index-url = file://{index} https://packages.example/simple",
        f"cert = {authority}",
    ]
    assert paths == sorted([wheels, index.parent, authority])


def test_pip_without_settings_mounts_nothing() -> None:
    """On a machine with the usual index the build gets an empty file."""
    assert images.pip_settings("") == ("[global]\n", [])


def test_a_build_leaves_nothing_of_what_went_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bases, each image and its pip stage stay; other names, nameless layers and forgotten boxes go."""
    bot = next(image for image in images.IMAGES if image.name == "bot")
    listed = [*images.BASES, bot.reference, bot.stage, "docker.io/cryptoai/bot:0.0.1", "<none>:<none>"]
    asked: list[list[str]] = []

    def answer(words: list[str]) -> str:
        asked.append(words[words.index("overlay") + 1 :])
        return "\n".join(listed)

    monkeypatch.setattr(images, "_driver", lambda _cache: "overlay")
    monkeypatch.setattr(images, "run", answer)
    images.Buildah(tmp_path).prune()
    removals = [words for words in asked if words[0] != "images"]
    assert removals == [["rm", "--all"], ["rmi", "docker.io/cryptoai/bot:0.0.1"], ["rmi", "--prune"]]


def test_docker_loses_only_images_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built bears the label that the clean-up asks for; nobody else's images do."""
    asked: list[str] = []
    monkeypatch.setattr(images, "run", lambda words, **_: asked.append(" ".join(map(str, words))))
    docker = images.Docker()
    docker.build(images.IMAGES[1], Path("/x/operator.tar"))
    docker.prune()
    build, save, prune = asked
    assert f"--build-arg ROLE=operator -t {images.IMAGES[1].reference} --label {images.LABEL}=operator" in build
    assert save == f"docker save -o /x/operator.tar {images.IMAGES[1].reference}"
    assert prune == f"docker image prune --force --filter label={images.LABEL}"


class Engine:
    """Builds by writing a file; remembers the order of things."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.done: list[str] = []
        self.built: set[str] = set()

    def base(self) -> str:
        return "base"

    def build(self, image: images.Image, archive: Path) -> None:
        self.done.append(f"build {image.name}")
        self.built.add(self.done[-1])
        archive.write_text("image")

    def size(self, image: images.Image) -> int:
        assert f"build {image.name}" in self.built
        return self._size

    def prune(self) -> None:
        self.done.append("prune")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A machine with an engine and a cluster that are only watched."""
    engine = Engine(150 * images.MEGABYTE)
    monkeypatch.setenv("CRYPTOAI_CACHE", str(tmp_path))
    monkeypatch.setattr(images, "_engine", lambda _cache: engine)
    monkeypatch.setattr(images, "require_space", lambda *_: None)
    monkeypatch.setattr(images.cluster, "load", lambda archive: engine.done.append(f"load {archive.name}"))
    monkeypatch.setattr(images.cluster, "forget", lambda keep: engine.done.append(f"keep {len(keep)}"))
    return engine


def test_an_image_is_built_once_and_old_ones_go_last(desk: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run builds nothing; sizes are printed; whatever could fail comes before anything is thrown away."""
    operator = images.IMAGES[1]
    images.make_all([operator], load=True)
    assert desk.done == ["build operator", "load operator.tar", "prune", f"keep {len(images.IMAGES)}"]
    assert f"{operator.reference}: 150 MB" in capsys.readouterr().out
    desk.done.clear()
    images.make_all([operator], load=False)
    assert desk.done == ["prune"]


def test_an_image_that_grew_too_large_is_refused(desk: Engine) -> None:
    """Before it is loaded, with its size, its limit and where to look."""
    desk._size = 201 * images.MEGABYTE
    with pytest.raises(Problem, match="operator has 201 MB, more than its 200 MB; look at its extras"):
        images.make_all([images.IMAGES[1]], load=True)
    assert desk.done == ["build operator"]


def wheel(path: Path, content: bytes) -> Path:
    """A package as the tools come in: a zip in a tar in a zip."""
    layer, package = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("helm/helm", content)
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        info = tarfile.TarInfo("package/lib/layer.zip")
        info.size = len(layer.getvalue())
        archive.addfile(info, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/_jsii/x.jsii.tgz", package.getvalue())
    return path


def test_a_tool_is_installed_by_its_checksum_only(tmp_path: Path) -> None:
    """The right bytes become an executable, others nothing at all."""
    right = tools.Tool("helm", "1", "helm/helm", hashlib.sha256(b"right").hexdigest())
    folder = tmp_path / "bin"
    with pytest.raises(Problem, match="unknown checksum"):
        tools.unpack(wheel(tmp_path / "bad.whl", b"wrong"), [right], folder)
    assert list(folder.iterdir()) == []
    assert tools.missing(folder, (right,)) == [right]
    tools.unpack(wheel(tmp_path / "good.whl", b"right"), [right], folder)
    assert tools.missing(folder, (right,)) == []
    assert (folder / "helm").stat().st_mode & 0o111


def test_an_image_that_is_loaded_is_known(tmp_path: Path) -> None:
    """By the digest of its configuration: the name alone may still belong to an older one."""
    data = json.dumps([{"Config": "c1.json", "RepoTags": ["a/b:1"], "Layers": []}]).encode()
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    assert native.contents(tmp_path / "x.tar") == ("a/b:1", "sha256:c1")
    listed = "REF TYPE DIGEST SIZE PLATFORMS LABELS\na/b:1 t sha256:m 1 MiB linux/amd64 {labels}\n"
    assert native.loaded("sha256:c1", listed.format(labels="x=y,cryptoai.dev/config=sha256:c1"))
    assert not native.loaded("sha256:c1", listed.format(labels="x=y,cryptoai.dev/config=sha256:c11"))
    assert not native.loaded("sha256:c1", listed.format(labels="x=y"))
    assert not native.loaded("sha256:c1", "")
