"""Writes a bundle: an immutable, content-addressed folder, and the link best_model.pt that names the best one.

    <root>/<revision[:12]>/{encoders,world_model,policy,risk}.safetensors, evidence.json, manifest.json
    <root>/best_model.pt -> <revision[:12]>

Called by `recipe`; read back by `core.bundle.verify_bundle` and inference. All is written beside, synced and renamed:
a reader sees a whole bundle or none. Equal content gives equal bytes and the same folder.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from cryptoai.core.bundle import MANIFEST, Manifest, canonical_json, file_hash, tensor_hashes, verify_bundle
from cryptoai.core.errors import BundleError, InvariantError
from cryptoai.training.checkpoint import fsync_tree, point

__all__ = ["BEST", "EVIDENCE", "PARTS", "write_bundle"]

PARTS = ("encoders", "world_model", "policy", "risk")
EVIDENCE = "evidence.json"
BEST = "best_model.pt"


def write_bundle(
    root: Path,
    parts: Mapping[str, Mapping[str, Tensor]],
    origin: Mapping[str, Any],
    evidence: Mapping[str, Any],
    *,
    promote: bool = True,
) -> Path:
    """Writes the four parts, the evidence and the manifest; with `promote` points the link there; returns the folder.

    `origin` holds the manifest's fields but `files` and `tensors`, which are computed here.
    """
    if set(parts) != set(PARTS):
        raise InvariantError(f"a bundle has the parts {', '.join(PARTS)}, not {', '.join(sorted(parts))}")
    root.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".bundle-", dir=root))
    try:
        manifest = _fill(beside, parts, origin, evidence)
        folder = _place(beside, root / manifest.revision[:12])
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if promote:
        point(root / BEST, folder.name)
    fsync_tree(root)
    return folder


def _fill(
    folder: Path, parts: Mapping[str, Mapping[str, Tensor]], origin: Mapping[str, Any], evidence: Mapping[str, Any]
) -> Manifest:
    folder.chmod(0o755)
    names = {part: f"{part}.safetensors" for part in PARTS}
    for part, name in names.items():
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in parts[part].items()}
        save_file(tensors, folder / name)
    (folder / EVIDENCE).write_bytes(canonical_json(evidence))
    manifest = Manifest(
        **origin,
        files={name: file_hash(folder / name) for name in (*names.values(), EVIDENCE)},
        tensors={name: tensor_hashes(folder / name) for name in names.values()},
    )
    (folder / MANIFEST).write_bytes(canonical_json(manifest.model_dump(mode="json")))
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner alone; a server is somebody else
    fsync_tree(folder)
    return manifest


def _place(beside: Path, folder: Path) -> Path:
    """Moves the new folder to its name; an equal bundle that is already there stays, a damaged one is replaced."""
    if folder.exists():
        try:
            verify_bundle(folder)
        except BundleError:
            shutil.rmtree(folder)
        else:
            return folder
    return beside.rename(folder)
