"""Writing a bundle: content-addressed, verified, linked; damage is refused and repaired."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cryptoai.core.bundle import verify_bundle
from cryptoai.core.errors import BundleError, InvariantError
from cryptoai.training.bundle import BEST, PARTS, write_bundle

ORIGIN = {
    "schema_hash": "s", "config_hash": "c", "config": {"model": {}}, "git_sha": "g", "seed": 1, "data_fingerprint": "d",
    "data_window": (1, 2), "scaler_hash": "h",
}  # fmt: skip


def write(root: Path, value: float = 1.0) -> Path:
    parts = {part: {"w": torch.full((2, 3), value), "n": torch.arange(4)} for part in PARTS}
    return write_bundle(root, parts, ORIGIN, {"gain": 0.5})


def test_what_was_written_is_read_back_and_verified(tmp_path: Path) -> None:
    """The folder is named by its revision, the link names the folder, the tensors are bitwise the ones given."""
    folder = write(tmp_path)
    manifest = verify_bundle(tmp_path / BEST, schema_hash="s")
    assert folder.name == manifest.revision[:12]
    assert (tmp_path / BEST).resolve() == folder.resolve()
    assert torch.equal(load_file(folder / "policy.safetensors")["w"], torch.ones(2, 3))
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, BEST}


def test_a_server_of_another_user_can_read_it(tmp_path: Path) -> None:
    """Folder and files are readable by all and writable by the owner only."""
    folder = write(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_equal_content_is_the_same_bundle(tmp_path: Path) -> None:
    """Two roots, byte-identical files; writing again changes nothing."""
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    assert first.name == second.name
    for path in sorted(first.iterdir()):
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name
    assert write(tmp_path / "a") == first


def test_the_link_moves_to_the_newest_bundle(tmp_path: Path) -> None:
    """Another content is another folder; the old one stays whole."""
    first, second = write(tmp_path, 1.0), write(tmp_path, 2.0)
    assert first != second
    assert (tmp_path / BEST).resolve() == second.resolve()
    verify_bundle(first)


@pytest.mark.parametrize("name", [f"{part}.safetensors" for part in PARTS] + ["evidence.json", "manifest.json"])
def test_one_flipped_byte_is_refused_and_written_anew(tmp_path: Path, name: str) -> None:
    """Whichever file it hits; training again puts a whole bundle in its place."""
    folder = write(tmp_path)
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(bytes(raw))
    with pytest.raises(BundleError):
        verify_bundle(folder)
    assert write(tmp_path) == folder
    verify_bundle(folder)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """Evidence that is no JSON: no folder, no link, no temporary."""
    with pytest.raises(ValueError, match="JSON"):
        write_bundle(tmp_path, {part: {"w": torch.ones(1)} for part in PARTS}, ORIGIN, {"gain": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_without_a_part_is_refused(tmp_path: Path) -> None:
    """All four or none."""
    with pytest.raises(InvariantError, match="encoders"):
        write_bundle(tmp_path, {"policy": {}}, ORIGIN, {})
