"""Working checkpoints of one stage: atomic folders of safetensors and a manifest, newest whole one wins.

    <folder>/step_00000120/model.safetensors   parameters, their averages, counters
    <folder>/step_00000120/optim.safetensors   moments of the optimiser
    <folder>/step_00000120/manifest.json       format, step, seconds, metrics, torch, origin, hash of every tensor
    <folder>/latest                            link to the newest

Written by the Trainer on rank 0, read by all ranks (which share the folder). Two are kept: a damaged newest one is
passed over for the one before it. A format that this code does not know is refused, not guessed at. No pickle.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cryptoai.core.bundle import canonical_json, file_hash, tensor_hashes
from cryptoai.core.errors import DataError

__all__ = ["FORMAT", "Checkpoint", "fsync_tree", "load_newest", "point", "save"]

FORMAT = 1
KEEP = 2
_MANIFEST = "manifest.json"
_LATEST = "latest"
_OPTIMIZER = "optimizer."
_FILES = ("model.safetensors", "optim.safetensors")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`step` optimisation steps are done, which took `elapsed` seconds in all runs together; metrics of the last."""

    step: int
    elapsed: float
    tensors: dict[str, Tensor]
    metrics: Mapping[str, float] = field(default_factory=dict)


def save(folder: Path, checkpoint: Checkpoint, origin: Mapping[str, Any] | None = None) -> None:
    """Writes beside, syncs, renames, points `latest` there; then drops all but the newest two.

    `origin`: what the manifest says of where the parameters come from (configuration, data, seed, parent).
    """
    final = folder / f"step_{checkpoint.step:08d}"
    if final.exists():
        return
    beside = folder / f".{final.name}.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, tensors in zip(_FILES, _split(checkpoint.tensors), strict=True):
        save_file(tensors, beside / name)
    (beside / _MANIFEST).write_bytes(canonical_json(_manifest(beside, checkpoint, origin or {})))
    fsync_tree(beside)
    beside.rename(final)
    point(folder / _LATEST, final.name)
    fsync_tree(folder)
    for old in _newest_first(folder)[KEEP:]:
        shutil.rmtree(old)


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose bytes are as its manifest says; None if there is none.

    DataError if it was written in another format.
    """
    for path in _newest_first(folder):
        try:
            head = json.loads((path / _MANIFEST).read_bytes())
            found, whole = head["format"], all(file_hash(path / name) == head["files"][name] for name in _FILES)
        except (OSError, ValueError, KeyError):
            continue
        if found != FORMAT:
            raise DataError(
                f"checkpoint {path} has format {found}, this build reads {FORMAT}; "
                "finish that training with the build that began it, or delete the folder to begin anew"
            )
        if whole:
            tensors = {key: tensor for name in _FILES for key, tensor in load_file(path / name).items()}
            return Checkpoint(head["step"], head["elapsed"], tensors, head["metrics"])
    return None


def point(link: Path, target: str) -> None:
    """Makes `link` name `target`, at once for every reader."""
    beside = link.with_name(f".{link.name}.tmp")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)


def fsync_tree(folder: Path) -> None:
    """Makes the files of a folder, and their names, durable."""
    for path in [*sorted(p for p in folder.iterdir() if p.is_file()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _split(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    placed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    moments = {name: tensor for name, tensor in placed.items() if name.startswith(_OPTIMIZER)}
    return {name: tensor for name, tensor in placed.items() if name not in moments}, moments


def _manifest(folder: Path, checkpoint: Checkpoint, origin: Mapping[str, Any]) -> dict[str, Any]:
    """The hash of a tensor covers its type, shape and bytes."""
    return {
        "format": FORMAT,
        "step": checkpoint.step,
        "elapsed": checkpoint.elapsed,
        "metrics": {name: value for name, value in checkpoint.metrics.items() if math.isfinite(value)},
        "torch": torch.__version__,
        "origin": dict(origin),
        "files": {name: file_hash(folder / name) for name in _FILES},
        "tensors": {name: tensor_hashes(folder / name) for name in _FILES},
    }


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*"), reverse=True) if folder.is_dir() else []
