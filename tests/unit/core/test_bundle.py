"""A bundle is what its manifest says, or it is refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cryptoai.core.bundle import MANIFEST, Manifest, canonical_json, file_hash, tensor_hashes, verify_bundle
from cryptoai.core.errors import BundleError

PARTS = ("encoders", "world_model", "policy", "risk")
FILES = [*(f"{part}.safetensors" for part in PARTS), "evidence.json"]


def safetensors(tensors: dict[str, list[float]]) -> bytes:
    """The documented layout: header length, JSON header, data."""
    header: dict[str, Any] = {"__metadata__": {"by": "test"}}
    data = b""
    for name, values in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def fields(folder: Path) -> dict[str, Any]:
    files = {p.name: file_hash(p) for p in folder.iterdir() if p.name != MANIFEST}
    return {
        "schema_hash": "s" * 16,
        "config_hash": "c" * 16,
        "config": {"model": {"hidden_dim": 16}},
        "git_sha": "0" * 40,
        "seed": 7,
        "data_fingerprint": "d" * 16,
        "data_window": (1, 2),
        "scaler_hash": "e" * 16,
        "files": files,
        "tensors": {name: tensor_hashes(folder / name) for name in files if name.endswith(".safetensors")},
    }


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for i, part in enumerate(PARTS):
        (folder / f"{part}.safetensors").write_bytes(safetensors({"w": [0.5, float(i)], "b": [1.0]}))
    (folder / "evidence.json").write_bytes(b'{"sharpe":0.1}')
    (folder / MANIFEST).write_text(Manifest(**fields(folder)).model_dump_json())
    return folder


def test_a_whole_bundle_is_accepted(bundle: Path) -> None:
    """The manifest comes back with the revision that was written."""
    manifest = verify_bundle(bundle, schema_hash="s" * 16)
    assert manifest.revision == json.loads((bundle / MANIFEST).read_text())["revision"]
    assert len(manifest.revision) == 32
    assert set(manifest.tensors["risk.safetensors"]) == {"w", "b"}


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_of_a_file_is_found(bundle: Path, name: str) -> None:
    """Whatever bit it is, the file is named."""
    raw = bytearray((bundle / name).read_bytes())
    for position in range(len(raw)):
        raw[position] ^= 1 << (position % 8)
        (bundle / name).write_bytes(raw)
        with pytest.raises(BundleError, match=f"{name} was changed after training"):
            verify_bundle(bundle)
        raw[position] ^= 1 << (position % 8)


def test_a_flipped_bit_of_the_manifest_is_found(bundle: Path) -> None:
    """The manifest vouches for the files; its own revision vouches for it."""
    path = bundle / MANIFEST
    raw = bytearray(path.read_bytes())
    for position in range(0, len(raw), 3):
        raw[position] ^= 0x01
        path.write_bytes(raw)
        with pytest.raises(BundleError):
            verify_bundle(bundle)
        raw[position] ^= 0x01


@pytest.mark.parametrize("name", FILES)
def test_missing_and_truncated_files_are_found(bundle: Path, name: str) -> None:
    """A file that is gone or cut short is named."""
    path = bundle / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=name):
        verify_bundle(bundle)
    path.unlink()
    with pytest.raises(BundleError, match=rf"the files differ from the manifest \({name}\)"):
        verify_bundle(bundle)


def test_an_extra_file_is_found(bundle: Path) -> None:
    """Nothing may ride along, not even in a folder below."""
    (bundle / "sub").mkdir()
    (bundle / "sub" / "model.pkl").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"sub/model\.pkl"):
        verify_bundle(bundle)


def test_another_schema_is_refused(bundle: Path) -> None:
    """The message has both hashes and the fix."""
    with pytest.raises(BundleError, match=r"state schema ssss.*this build has zzzz.*train a new bundle"):
        verify_bundle(bundle, schema_hash="zzzz")


def test_what_is_no_bundle_says_so(tmp_path: Path) -> None:
    """A missing folder, an empty one, and a file (a pickled .pt, say) are told apart from damage."""
    (tmp_path / "model.pt").write_bytes(b"PK")
    for path in (tmp_path / "none", tmp_path, tmp_path / "model.pt"):
        with pytest.raises(BundleError, match="is no bundle"):
            verify_bundle(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "was damaged"),
        (b"[]", "has no revision"),
        (b"1", "was damaged"),
        (b"\xff", "was damaged"),
        (b'{"revision":"x"}', "schema_hash: Field required"),
    ],
)
def test_an_unreadable_manifest_says_why(bundle: Path, content: bytes, said: str) -> None:
    """One clear sentence names the manifest and the first thing wrong with it."""
    (bundle / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=f"manifest.json.*{said}") as caught:
        verify_bundle(bundle)
    assert "\n" not in str(caught.value)


def test_tensors_of_a_file_outside_are_refused(bundle: Path) -> None:
    """The manifest cannot point out of the folder."""
    made = fields(bundle)
    made["tensors"]["../other.safetensors"] = {}
    (bundle / MANIFEST).write_text(Manifest(**made).model_dump_json())
    with pytest.raises(BundleError, match=r"\.\./other\.safetensors, which is no file"):
        verify_bundle(bundle)


def test_a_wrong_tensor_hash_is_refused(bundle: Path) -> None:
    """File hashes right, tensor hashes wrong: a manifest made for other tensors."""
    made = fields(bundle)
    made["tensors"]["risk.safetensors"]["w"] = "0" * 64
    (bundle / MANIFEST).write_text(Manifest(**made).model_dump_json())
    with pytest.raises(BundleError, match=r"a tensor of risk\.safetensors"):
        verify_bundle(bundle)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 3) + b'"a"',
        struct.pack("<Q", 8) + b'{"w": 1}',
        safetensors({"w": [1.0, 2.0]})[:-1],
    ],
)
def test_broken_safetensors_are_named(tmp_path: Path, raw: bytes) -> None:
    """Truncated, empty, or with a header that is none: one sentence with the file's name."""
    path = tmp_path / "policy.safetensors"
    path.write_bytes(raw)
    with pytest.raises(BundleError, match=r"policy\.safetensors is not a safetensors file"):
        tensor_hashes(path)


def test_tensor_hash_covers_type_shape_and_bytes(tmp_path: Path) -> None:
    """Equal tensors have equal hashes, and a change of any of the three changes it."""
    path = tmp_path / "x.safetensors"
    seen = set()
    raw = safetensors({"w": [1.0, 2.0]})
    for variant in (raw, raw.replace(b"F32", b"I32"), raw.replace(b"[2]", b"[1]"), safetensors({"w": [1.0, 3.0]})):
        path.write_bytes(variant)
        seen.add(tensor_hashes(path)["w"])
    assert len(seen) == 4
    path.write_bytes(raw)
    assert tensor_hashes(path)["w"] in seen


def test_revision_is_the_content(bundle: Path) -> None:
    """Equal content, equal revision; any field changes it; the manifest is frozen and closed."""
    made = fields(bundle)
    manifest = Manifest(**made)
    assert manifest.revision == Manifest(**made).revision
    assert manifest.revision != Manifest(**(made | {"seed": 8})).revision
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
    with pytest.raises(ValidationError):
        manifest.seed = 9  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Manifest(**(made | {"other": 1}))
    with pytest.raises(ValidationError, match="its content has revision"):
        Manifest(**(made | {"revision": "0" * 32}))


def test_canonical_json_is_one_text_per_value() -> None:
    """Order and spacing do not matter, and NaN has no text."""
    assert canonical_json({"b": 1, "a": [1, 2]}) == canonical_json({"a": [1, 2], "b": 1}) == b'{"a":[1,2],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))
