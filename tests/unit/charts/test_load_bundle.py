"""What load_bundle.sh refuses before it touches a cluster, and what its receiving end does with what arrives."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cryptoai.core.bundle import MANIFEST, Manifest, canonical_json, file_hash, verify_bundle

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "load_bundle.sh"
Done = subprocess.CompletedProcess[str]
Receive = Callable[..., Done]


def make_bundle(folder: Path, seed: int = 7) -> Path:
    """A whole bundle without tensors: the receiver looks at hashes only."""
    folder.mkdir()
    (folder / "evidence.json").write_bytes(canonical_json({"seed": seed}))
    manifest = Manifest(
        schema_hash="s" * 16,
        config_hash="c" * 16,
        config={},
        git_sha="0" * 40,
        seed=seed,
        data_fingerprint="d" * 16,
        data_window=(1, 2),
        scaler_hash="e" * 16,
        files={"evidence.json": file_hash(folder / "evidence.json")},
        tensors={},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return folder


def tar(folder: Path, **more: bytes) -> bytes:
    """As the script's `tar --directory BUNDLE .` sends it."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        archive.add(folder, arcname=".")
        for name, content in more.items():
            member = tarfile.TarInfo(name.replace("_", "/"))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return sink.getvalue()


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """The root of the volume."""
    folder = tmp_path / "claim"
    folder.mkdir()
    return folder


@pytest.fixture
def receive(claim: Path) -> Receive:
    """Runs the program that the script runs in its pod."""
    found = re.search(r"<<'PYTHON'[^\n]*\n(.*?)\nPYTHON\n", SCRIPT.read_text(), re.DOTALL)
    assert found is not None
    program = found.group(1)

    def run(archive: bytes, name: str = "") -> Done:
        command = [sys.executable, "-c", program, str(claim), name]
        done = subprocess.run(command, input=archive, capture_output=True, check=False, cwd=ROOT, timeout=30)
        return Done(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def script(*words: str | Path, **env: str) -> Done:
    """The script itself, with no cluster to reach."""
    environment = {"PATH": os.environ["PATH"], "KUBECTL": "/bin/false"} | env
    command = [str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=30)


def test_it_says_how_it_is_called() -> None:
    """Without a bundle: usage, and the code for it."""
    done = script()
    assert done.returncode == 64
    assert "usage: scripts/load_bundle.sh BUNDLE_DIR [NAMESPACE [NAME]]" in done.stderr


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """One sentence that names it and the way out."""
    done = script(tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path} is no bundle: it has no manifest.json; train one with: cryptoai train" in done.stderr


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "two words"])
def test_a_name_that_leaves_the_claim_is_refused(tmp_path: Path, name: str) -> None:
    """Before any pod is made."""
    done = script(make_bundle(tmp_path / "b"), "desk", name)
    assert done.returncode == 1
    assert f"NAME {name}" in done.stderr


def test_a_missing_claim_is_named(tmp_path: Path) -> None:
    """With the value of the chart that makes one."""
    done = script(make_bundle(tmp_path / "b"), "desk", CLAIM="mine")
    assert done.returncode == 1
    assert "namespace desk has no claim mine; install the chart with --set bundles.create=true" in done.stderr


def test_what_arrives_is_verified_and_named(tmp_path: Path, claim: Path, receive: Receive) -> None:
    """By revision if no name is given; nothing else is left in the claim."""
    bundle = make_bundle(tmp_path / "b")
    revision = verify_bundle(bundle).revision
    assert receive(tar(bundle)).stdout == f"loaded: path {revision[:12]}, revision {revision}\n"
    assert receive(tar(bundle), "first").stdout == f"loaded: path first, revision {revision}\n"
    assert sorted(p.name for p in claim.iterdir()) == sorted([revision[:12], "first"])
    assert verify_bundle(claim / "first").revision == revision


def test_loading_twice_does_nothing(tmp_path: Path, claim: Path, receive: Receive) -> None:
    """The folder that was there stays as it was."""
    bundle = make_bundle(tmp_path / "b")
    receive(tar(bundle), "first")
    before = (claim / "first" / MANIFEST).stat().st_ino
    done = receive(tar(bundle), "first")
    assert done.returncode == 0
    assert "there already: path first" in done.stdout
    assert (claim / "first" / MANIFEST).stat().st_ino == before


def test_another_bundle_does_not_replace_one(tmp_path: Path, claim: Path, receive: Receive) -> None:
    """A bot may be reading it."""
    receive(tar(make_bundle(tmp_path / "a", 1)), "first")
    revision = verify_bundle(claim / "first").revision
    done = receive(tar(make_bundle(tmp_path / "b", 2)), "first")
    assert done.returncode == 1
    assert f"first is taken by revision {revision}" in done.stderr
    assert verify_bundle(claim / "first").revision == revision


def test_half_a_bundle_is_never_seen(tmp_path: Path, claim: Path, receive: Receive) -> None:
    """Cut off, changed, or nothing at all: the claim stays empty."""
    bundle = make_bundle(tmp_path / "b")
    whole = tar(bundle)
    (bundle / "evidence.json").write_bytes(b"{}")
    for archive in (b"", whole[:1500], tar(bundle)):
        done = receive(archive, "first")
        assert done.returncode == 1
        assert done.stderr.startswith("not loaded: ")
        assert not list(claim.iterdir())


def test_a_file_outside_the_bundle_is_refused(tmp_path: Path, claim: Path, receive: Receive) -> None:
    """Whoever made the archive writes inside the claim's own folder only."""
    done = receive(tar(make_bundle(tmp_path / "b"), **{".._.._evil": b"x"}), "first")
    assert done.returncode == 1
    assert "../../evil lies outside the bundle" in done.stderr
    assert not list(claim.iterdir())
    assert not (tmp_path / "evil").exists()
