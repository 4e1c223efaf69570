"""Working checkpoints of one stage: atomic folders of safetensors and a manifest, newest whole one wins.

    <folder>/step_00000120/state.safetensors   parameters, optimiser moments
    <folder>/step_00000120/manifest.json       step, elapsed seconds, SHA-256 of the tensors

Written by the Trainer on rank 0, read by all ranks (which share the folder). Two are kept: a damaged newest one is
passed over for the one before it. No pickle.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from cryptoai.core.bundle import canonical_json, file_hash

__all__ = ["Checkpoint", "fsync_tree", "load_newest", "save"]

KEEP = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`step` optimisation steps are done, which took `elapsed` seconds in all runs together."""

    step: int
    elapsed: float
    tensors: dict[str, Tensor]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes beside, syncs, renames; then drops all but the newest two."""
    final = folder / f"step_{checkpoint.step:08d}"
    if final.exists():
        return
    beside = folder / f".{final.name}.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    save_file(tensors, beside / "state.safetensors")
    head = {"step": checkpoint.step, "elapsed": checkpoint.elapsed, "sha256": file_hash(beside / "state.safetensors")}
    (beside / "manifest.json").write_bytes(canonical_json(head))
    fsync_tree(beside)
    beside.rename(final)
    fsync_tree(folder)
    for old in _newest_first(folder)[KEEP:]:
        shutil.rmtree(old)


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose bytes are as its manifest says; None if there is none."""
    for path in _newest_first(folder):
        try:
            head = json.loads((path / "manifest.json").read_bytes())
            if file_hash(path / "state.safetensors") == head["sha256"]:
                return Checkpoint(head["step"], head["elapsed"], load_file(path / "state.safetensors"))
        except (OSError, ValueError, KeyError):
            continue
    return None


def fsync_tree(folder: Path) -> None:
    """Makes the files of a folder, and their names, durable."""
    for path in [*sorted(p for p in folder.iterdir() if p.is_file()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*"), reverse=True) if folder.is_dir() else []
