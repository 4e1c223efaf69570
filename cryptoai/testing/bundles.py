"""A whole bundle in a second: real modules of any size with seeded, untrained weights, fitted to the synthetic market.

Tests and latency measurements of whatever loads, serves or carries a bundle use it. It must never be offered as a
model: its evidence says that it was not trained.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from cryptoai.black_swan.guard import RiskModel
from cryptoai.core.bundle import MANIFEST, Manifest, canonical_json, file_hash, tensor_hashes
from cryptoai.core.config import ModelConfig
from cryptoai.core.ids import content_hash
from cryptoai.core.state import StateVector
from cryptoai.data_universe.schema import SCHEMA_HASH
from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.policy import Policy
from cryptoai.testing.market import SyntheticMarket, synthetic_dataset
from cryptoai.world_model import WorldModel

__all__ = ["SMALLEST", "seal", "states", "untrained_bundle"]

INTERVAL_MS = 1000

SMALLEST: dict[str, dict[str, int]] = {
    "model": {"hidden_dim": 16, "latent_dim": 8, "layers": 1, "heads": 2, "context": 4},
    "training": {
        "batch_size": 16,
        "sequence": 4,
        "horizon": 4,
        "encoder_epochs": 1,
        "world_model_epochs": 1,
        "policy_epochs": 1,
    },
}
"""Changes of the configuration with which a bundle is really trained in seconds; its answers mean nothing."""


def untrained_bundle(folder: Path, *, seed: int = 0, model: ModelConfig | None = None) -> Path:
    """Writes a bundle into `folder` (made if need be) and returns it."""
    size = model or ModelConfig(hidden_dim=64, latent_dim=32)
    market = synthetic_dataset(seed, 2000)
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in _tensors(market, size, seed).items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")
    (folder / "evidence.json").write_bytes(canonical_json({"trained": False, "seed": seed}))
    seal(folder, size, seed)
    return folder


def seal(folder: Path, model: ModelConfig, seed: int = 0, schema_hash: str = SCHEMA_HASH) -> Manifest:
    """Writes the manifest of what lies in `folder`, over an old one, whatever it is: to test who trusts it."""
    config = {"model": model.model_dump(), "training": {}, "decision_interval_ms": INTERVAL_MS, "sample_ms": 100}
    files = {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    manifest = Manifest(
        schema_hash=schema_hash, config_hash=content_hash(canonical_json(config)), config=config, git_sha="0" * 40,
        seed=seed, data_fingerprint=content_hash(b"synthetic"), data_window=(0, 1), scaler_hash=content_hash(b"scaler"),
        files=files, tensors={name: tensor_hashes(folder / name) for name in files if name.endswith(".safetensors")},
    )  # fmt: skip
    (folder / MANIFEST).write_bytes(canonical_json(manifest.model_dump(mode="json")))
    return manifest


def states(market: SyntheticMarket, rows: range, instrument: str = "binance_usdm:BTCUSDT") -> list[StateVector]:
    """Rows of a synthetic market as state vectors, in the order of `rows`."""
    times = [int(market.times[row]) for row in rows]
    return [
        StateVector.of(
            instrument, (time, time), SCHEMA_HASH, market.values[row].tolist(), market.mask[row].tolist()
        )
        for row, time in zip(rows, times, strict=True)
    ]  # fmt: skip


def _tensors(market: SyntheticMarket, size: ModelConfig, seed: int) -> dict[str, dict[str, Tensor]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        world_model = WorldModel(size)
        policy = Policy(world_model.feature_dim, size.hidden_dim)
        critic = Critic(world_model.feature_dim, size.hidden_dim)
    # The last layers start at or near zero; an untrained answer must still depend on the question.
    draws = torch.Generator().manual_seed(seed)
    for body, spread in ((policy.body, 0.3), (critic.body, 0.3), (world_model.returns, 0.03)):
        torch.nn.init.normal_(list(body.parameters())[-2], std=spread, generator=draws)
    world_model.encoder.scaler.fit(market.values, market.mask)
    scale = float(np.std(market.future(INTERVAL_MS // 100)))
    world_model.set_units(scale, world_model.base.clone())
    risk = RiskModel.fit(market.values, market.mask, market.future(INTERVAL_MS // 100) / scale, min_exceed=50)
    weights = world_model.state_dict()
    inside = {k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")}
    outside = {k: v for k, v in weights.items() if not k.startswith("encoder.")}
    own = {f"policy.{k}": v for k, v in policy.state_dict().items()}
    own |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
    return {"encoders": inside, "world_model": outside, "policy": own, "risk": risk.tensors()}
