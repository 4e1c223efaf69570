"""The bundle: what training makes and everything else carries. Its manifest, and proof that the folder is what it says.

Written by training, verified by whoever loads it (inference, operator, packager) before a tensor is read. No pickle:
tensors are safetensors files, whose headers are read here without any array library, so that the deterministic
island can verify a bundle too.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    computed_field,
    model_validator,
)

from cryptoai.core.errors import BundleError
from cryptoai.core.ids import content_hash

__all__ = ["MANIFEST", "Manifest", "canonical_json", "file_hash", "tensor_hashes", "verify_bundle"]

MANIFEST = "manifest.json"


class Manifest(BaseModel):
    """Everything that makes a bundle reproducible and checkable (frozen).

    `files` maps each file of the folder (but the manifest) to its SHA-256, `tensors` maps file to tensor name to
    the SHA-256 of its raw bytes. `revision` is the hash of all of it; it is written with the rest, and a manifest that
    was changed since is refused when it is read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    schema_hash: str = Field(description="hash of the state schema that the tensors expect")
    config_hash: str
    config: dict[str, Any] = Field(description="the model and training sections that built it")
    git_sha: str
    seed: int
    data_fingerprint: str = Field(description="hash of the events that it was trained on")
    data_window: tuple[int, int] = Field(description="first and last known_at of the training data, ns UTC")
    scaler_hash: str
    parent: str | None = Field(default=None, description="revision that training started from")
    files: dict[str, str]
    tensors: dict[str, dict[str, str]]

    @computed_field  # type: ignore[prop-decorator]  # mypy has no decorated properties; pydantic documents this form
    @property
    def revision(self) -> str:
        """32 hex digits; equal for equal content."""
        return content_hash(canonical_json(self.model_dump(mode="json", exclude={"revision"})), 32)

    @model_validator(mode="wrap")
    @classmethod
    def _check_revision(cls, raw: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(raw, dict) or "revision" not in raw:
            return build(raw)
        made = build({key: value for key, value in raw.items() if key != "revision"})
        if made.revision != raw["revision"]:
            raise ValueError(f"its content has revision {made.revision}, it was written as {raw['revision']}")
        return made


def canonical_json(value: object) -> bytes:
    """Sorted, compact JSON: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def file_hash(path: Path) -> str:
    return content_hash(path.read_bytes())


def tensor_hashes(path: Path) -> dict[str, str]:
    """Tensor name to SHA-256 of dtype, shape and raw bytes, straight from the safetensors layout."""
    raw = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", raw)
        if length > len(raw) - 8:
            raise ValueError("its header is cut short")
        header = json.loads(raw[8 : 8 + length])
        header.pop("__metadata__", None)
        return {name: _tensor_hash(entry, raw[8 + length :]) for name, entry in sorted(header.items())}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path.name} is not a safetensors file: {error}") from None


def _tensor_hash(entry: dict[str, Any], data: bytes) -> str:
    first, last = entry["data_offsets"]
    if not 0 <= first <= last <= len(data):
        raise ValueError("a tensor lies outside the file")
    return content_hash(f"{entry['dtype']}{entry['shape']}".encode() + data[first:last])


def verify_bundle(folder: Path, *, schema_hash: str | None = None) -> Manifest:
    """The manifest of a folder whose every byte is as the manifest says; BundleError names what is not."""
    manifest = _read_manifest(folder)
    present = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {MANIFEST}
    if present != set(manifest.files):
        odd = ", ".join(sorted(present ^ set(manifest.files)))
        raise BundleError(f"bundle {folder.name}: the files differ from the manifest ({odd}); train or fetch it again")
    for name, wanted in sorted(manifest.files.items()):
        if file_hash(folder / name) != wanted:
            raise BundleError(f"bundle {folder.name}: {name} was changed after training; train or fetch it again")
    if strange := set(manifest.tensors) - present:
        raise BundleError(
            f"bundle {folder.name}: the manifest has tensors of {sorted(strange)[0]}, which is no file of it"
        )
    for name, tensors in manifest.tensors.items():
        if tensor_hashes(folder / name) != tensors:
            raise BundleError(f"bundle {folder.name}: a tensor of {name} is not the one in the manifest")
    if schema_hash is not None and manifest.schema_hash != schema_hash:
        raise BundleError(
            f"bundle {folder.name} was trained on state schema {manifest.schema_hash}, this build has {schema_hash}; "
            "train a new bundle"
        )
    return manifest


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_bytes())
        if "revision" not in raw:
            raise BundleError(f"bundle {folder.name}: {MANIFEST} has no revision; train or fetch it again")
        return Manifest.model_validate(raw)
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{folder} is no bundle: it is no folder with a {MANIFEST}") from None
    except (ValueError, TypeError) as error:
        why = _first(error) if isinstance(error, ValidationError) else str(error)
        raise BundleError(
            f"bundle {folder.name}: {MANIFEST} was damaged or changed ({why}); train or fetch it again"
        ) from None


def _first(error: ValidationError) -> str:
    item = error.errors()[0]
    return ": ".join([".".join(map(str, item["loc"])), item["msg"]]).removeprefix(": ")
