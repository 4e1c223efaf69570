"""`python -m scripts.images [ROLE ...]`: builds the images of docker/ and loads them into the tests' cluster.

Run by `make images`. Where a Docker engine answers it builds; elsewhere buildah does, from the same files, with
Debian's own packages tagged as the base that they name. An image is built again only when something that goes into it
has changed, and what an earlier build left is thrown away after it. Two runs at once wait for each other.
What this machine needs to reach its package index is mounted while building and must never end up in an image.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.cluster import __main__ as cluster
from scripts.cluster import kind
from scripts.cluster.shell import Problem, alone, apt_install, cache_root, main, out, require_space, run, step

__all__ = ["IMAGES", "Image", "content_key", "pip_settings", "version"]

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000
WORK_GB = 8
LABEL = "cryptoai.dev/role"


@dataclass(frozen=True)
class Image:
    """An image by name: the file that makes it, what is copied into it, the largest it may be (MB, unpacked), and
    whether pip installs something in a stage named `build`.
    """

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    limit_mb: int | None = None
    installs: bool = True

    @property
    def reference(self) -> str:
        """The name in full; `localhost` says that no registry has it, so a node that lacks it never asks one."""
        return f"localhost/cryptoai/{self.name}:{version()}"

    @property
    def stage(self) -> str:
        """The name of the stage in which pip installs: what has one is kept for the next build."""
        return f"localhost/cryptoai/{self.name}:build"


FOLDERS = ("cryptoai", "operators", "bentos", "feature_repo", "configs", "scripts")
FILES = (
    "docker/Dockerfile",
    "docker/install.sh",
    "docker/slim.sh",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "LICENSE",
)
IMAGES = (
    Image("redis", "docker/redis.Dockerfile", ("docker/redis.Dockerfile",), installs=False),
    Image("operator", "docker/Dockerfile", FILES + FOLDERS, limit_mb=200),
    Image("bot", "docker/Dockerfile", FILES + FOLDERS, limit_mb=850),
    Image("serve", "docker/Dockerfile", FILES + FOLDERS, limit_mb=1100),
)
DEBIAN = "docker.io/library/debian:bookworm-slim"
SUITE = "bookworm"
PYTHON = "docker.io/library/python:3.11-slim-bookworm"
# Like Debian's own slim images: no manuals, no translations, licences kept; nor encodings that nobody here speaks.
UNWANTED = ("share/doc", "share/man", "share/info", "share/locale", "share/lintian", "lib/x86_64-linux-gnu/gconv")
SLIM = [f"--dpkgopt=path-exclude=/usr/{name}/*" for name in UNWANTED]
SLIM += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
SLIM += ['--aptopt=APT::Install-Recommends "false"']
# In builds upon it, apt keeps nothing that it can make again.
TIDY = (
    'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache ""; DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };'
)
MERGED = ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
OURS = ['--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"; rm -rf "$1"/var/log/* "$1"/var/cache/apt/*.bin']
BASES = {
    DEBIAN: [
        "--variant=apt",
        "--include=usr-is-merged",
        f"--customize-hook=echo '{TIDY}' > \"$1/etc/apt/apt.conf.d/tidy\"",
    ],
    # apt installs nothing upon this one, which is what Perl is essential for; lib2to3 serves old setup scripts.
    PYTHON: [
        "--variant=essential",
        "--include=usr-is-merged,passwd,python3-venv,libstdc++6,ca-certificates",
        '--customize-hook=chroot "$1" dpkg --purge --force-remove-essential --force-depends perl-base python3-lib2to3',
    ],
}


def version() -> str:
    """The project's version, which is every image's tag."""
    for node in ast.parse((ROOT / "cryptoai/__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise Problem("cryptoai/__init__.py has no __version__")


def content_key(image: Image, root: Path, base: str) -> str:
    """Hex digest of everything that decides what the image holds: its name, its inputs below `root`, its base."""
    digest = hashlib.sha256(f"{image.reference}\n{base}\n".encode())
    for name in image.inputs:
        for file in _files(root / name):
            digest.update(f"{file.relative_to(root)} {file.stat().st_mode & 0o111:o}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    """The file, or the files below a folder that .dockerignore lets through."""
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return sorted(file for file in found if "feature_repo/data" not in str(file))


def pip_settings(listed: str) -> tuple[str, list[Path]]:
    """A pip.conf that says what `pip config list` listed, and the local files and folders that it names.

    Later kinds of source win, as in pip: global, user, site, environment.
    """
    values: dict[str, str] = {}
    for line in listed.splitlines():
        name, _, text = line.partition("=")
        if text and not name.startswith("install."):
            values[name.rpartition(".")[2]] = str(ast.literal_eval(text))
    words = ((name, Path(word.removeprefix("file://"))) for name, value in values.items() for word in value.split())
    # A local index names its files by paths beside its own.
    named = {path.parent if "index-url" in name else path for name, path in words if path.is_absolute()}
    paths = sorted(path for path in named if path.exists())
    lines = [f"{name} = {' '.join(value.split())}" for name, value in values.items()]
    return "\n".join(["[global]", *lines]) + "\n", paths


class Docker:
    """Builds with the Docker engine, whose user sees to its configuration."""

    def base(self) -> str:
        """The base is pulled by the engine; its name stands for it."""
        return PYTHON

    def build(self, image: Image, archive: Path) -> None:
        """Builds and saves the image."""
        arguments = ["-f", image.dockerfile, "--build-arg", f"ROLE={image.name}", "-t", image.reference]
        run(["docker", "build", *arguments, "--label", f"{LABEL}={image.name}", "."], cwd=ROOT)
        run(["docker", "save", "-o", archive, image.reference])

    def size(self, image: Image) -> int:
        """Bytes of the image's files, unpacked."""
        return int(run(["docker", "image", "inspect", "--format", "{{.Size}}", image.reference]))

    def prune(self) -> None:
        """Removes images that we built and that a newer one took the name of; nobody else's."""
        run(["docker", "image", "prune", "--force", "--filter", f"label={LABEL}"])


class Buildah:
    """Builds without an engine."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        run_root = "/run/cryptoai-buildah-" + hashlib.sha256(bytes(cache.resolve())).hexdigest()[:8]
        self._buildah = ["buildah", "--root", str(cache / "storage"), "--runroot", run_root]
        self._buildah += ["--storage-driver", _driver(cache)]

    def base(self) -> str:
        """The ids of the bases, made once of Debian's packages under the names that the Dockerfiles ask for."""
        for name, choice in BASES.items():
            words = [*choice, *MERGED, *SLIM, *OURS, SUITE]
            made_of = self._cache / f"{name.rpartition('/')[2]}.options"
            if not self._id(name) or not made_of.is_file() or made_of.read_text() != repr(words):
                require_space(self._cache, WORK_GB, "building images")
                with step(f"making {name.rpartition('/')[2]} of Debian's packages"):
                    self._make_base(name, words)
                made_of.write_text(repr(words))
        return " ".join(self._id(name) for name in BASES)

    def build(self, image: Image, archive: Path) -> None:
        """Builds the image, layer by layer where they changed, and writes it as a Docker archive."""
        way = ["bud", "--isolation", "chroot", "--network", "host", "--layers", "--pull-never", "-q"]
        arguments = ["-f", image.dockerfile, "--ignorefile", ".dockerignore", "--build-arg", f"ROLE={image.name}"]
        if image.installs:
            # pip runs in the first stage only; the second is built without the mounts, so that it has no trace of them.
            with _pip_mounts() as mounts:
                run([*self._buildah, *way, *arguments, *mounts, "--target", "build", "-t", image.stage, "."], cwd=ROOT)
        run([*self._buildah, *way, *arguments, "-t", image.reference, "."], cwd=ROOT)
        # Of the archives that containerd and kind read this one is not compressed: quicker by far to write and to load.
        run([*self._buildah, "push", "-q", image.reference, f"docker-archive:{archive}:{image.reference}"])

    def size(self, image: Image) -> int:
        """Bytes of the image's files, unpacked."""
        box = run([*self._buildah, "from", "--pull-never", "-q", image.reference]).strip()
        try:
            tree = run([*self._buildah, "mount", box]).strip()
            return int(run(["du", "-sxb", tree]).split()[0])
        finally:
            run([*self._buildah, "rm", box])

    def prune(self) -> None:
        """Frees what no name of ours refers to: earlier images, their layers, boxes of a build that was cut short.

        The whole storage is ours, so that what is unknown in it is old.
        """
        run([*self._buildah, "rm", "--all"])
        kept = {*BASES, *(image.reference for image in IMAGES), *(image.stage for image in IMAGES)}
        listed = run([*self._buildah, "images", "--noheading", "--format", "{{.Name}}:{{.Tag}}"]).split()
        if old := [name for name in listed if name not in kept and not name.startswith("<none>")]:
            run([*self._buildah, "rmi", *old])
        run([*self._buildah, "rmi", "--prune"])

    def _make_base(self, name: str, words: list[str]) -> None:
        with tempfile.TemporaryDirectory() as work:
            tree = Path(work, "tree.tar")
            run(["mmdebstrap", *words, tree])
            box = run([*self._buildah, "from", "-q", "scratch"]).strip()
            run([*self._buildah, "add", "-q", box, tree, "/"])
            run([*self._buildah, "commit", "-q", "--rm", box, name])

    def _id(self, name: str) -> str:
        return (out([*self._buildah, "images", "-q", "--no-trunc", name]) or "").strip()


def _driver(cache: Path) -> str:
    """overlay where the file system below the cache can carry it; vfs, which copies every layer, elsewhere."""
    with tempfile.TemporaryDirectory(dir=cache) as work:
        parts = {name: Path(work, name) for name in ("lower", "upper", "work", "merged")}
        for part in parts.values():
            part.mkdir()
        options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
        if out(["mount", "-t", "overlay", "overlay", "-o", options, parts["merged"]]) is None:
            return "vfs"
        run(["umount", parts["merged"]])
        return "overlay"


@contextmanager
def _pip_mounts() -> Iterator[list[str]]:
    """Mounts that let pip inside a build reach what pip reaches here."""
    settings, paths = pip_settings(out([sys.executable, "-m", "pip", "config", "list"]) or "")
    with tempfile.TemporaryDirectory() as work:
        file = Path(work, "pip.conf")
        file.write_text(settings)
        wanted = [(file, Path("/etc/pip.conf")), *((path, path) for path in paths)]
        certificates = Path("/etc/ssl/certs")
        if certificates.is_dir():
            wanted = [pair for pair in wanted if certificates not in pair[1].parents] + [(certificates, certificates)]
        yield [word for source, target in wanted for word in ("-v", f"{source}:{target}:ro")]


def _engine(cache: Path) -> Docker | Buildah:
    if kind.available()[0]:
        return Docker()
    if os.geteuid() != 0:
        raise Problem("building without Docker needs root; start Docker or run as root")
    apt_install({"buildah": "buildah", "mmdebstrap": "mmdebstrap", "mount": "mount"})
    return Buildah(cache)


def make(image: Image, engine: Docker | Buildah, cache: Path, base: str) -> Path:
    """The archive of an image, built if anything in it changed."""
    archive, key_file = cache / f"{image.name}.tar", cache / f"{image.name}.key"
    key = content_key(image, ROOT, base)
    if archive.is_file() and key_file.is_file() and key_file.read_text() == key:
        return archive
    require_space(cache, WORK_GB, "building images")
    with step(f"building {image.name}"):
        key_file.unlink(missing_ok=True)
        draft = archive.with_suffix(".part")
        draft.unlink(missing_ok=True)
        engine.build(image, draft)
        draft.replace(archive)
        key_file.write_text(key)
    return archive


def check(image: Image, engine: Docker | Buildah) -> None:
    """Prints the size. Raises Problem if it is more than the image may have."""
    size = engine.size(image) / MEGABYTE
    print(f"  {image.reference}: {size:.0f} MB", flush=True)
    if image.limit_mb and size > image.limit_mb:
        raise Problem(
            f"the image {image.name} has {size:.0f} MB, more than its {image.limit_mb} MB; look at its extras"
        )


def cli() -> None:
    """Reads the command line, builds what is named (all by default), and loads it unless told not to."""
    parser = argparse.ArgumentParser(prog="python -m scripts.images", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="ROLE", help=f"some of: {', '.join(i.name for i in IMAGES)}")
    parser.add_argument("--no-load", action="store_true", help="build only; no cluster is needed")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - {image.name for image in IMAGES}:
        raise Problem(f"there is no image {sorted(unknown)[0]}; there are {', '.join(i.name for i in IMAGES)}")
    if not arguments.no_load:
        cluster.takes_images()
    chosen = [image for image in IMAGES if not arguments.names or image.name in arguments.names]
    with alone("images"):
        make_all(chosen, load=not arguments.no_load)


def make_all(chosen: list[Image], *, load: bool) -> None:
    """Builds, measures and loads; then nothing is left of what went before."""
    cache = cache_root() / "images"
    cache.mkdir(parents=True, exist_ok=True)
    engine = _engine(cache)
    base = engine.base()
    for image in chosen:
        archive = make(image, engine, cache, base)
        check(image, engine)
        if load:
            cluster.load(archive)
    engine.prune()
    if load:
        cluster.forget({image.reference for image in IMAGES})


if __name__ == "__main__":
    sys.exit(main(cli))
