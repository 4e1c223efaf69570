"""The learned parts as training holds them, and a bundle read back to be trained further.

`recipe` fills its networks from it, `challenge` compares with it. It must never change the bundle's folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from safetensors.torch import load_file

from cryptoai.core.bundle import Manifest, verify_bundle
from cryptoai.core.config import Config, ModelConfig
from cryptoai.core.errors import BundleError, ConfigError
from cryptoai.data_universe.schema import SCHEMA_HASH
from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.policy import Policy
from cryptoai.training.bundle import EVIDENCE
from cryptoai.world_model.model import WorldModel

__all__ = ["Champion", "Nets"]


@dataclass(frozen=True, slots=True)
class Nets:
    """World model, policy and critic of one size."""

    model: WorldModel
    policy: Policy
    critic: Critic

    @classmethod
    def of(cls, config: ModelConfig) -> Self:
        """Fresh ones; their weights come from torch's generator, see `seeds.initialised`."""
        model = WorldModel(config)
        return cls(model, Policy(model.feature_dim, config.hidden_dim), Critic(model.feature_dim, config.hidden_dim))


@dataclass(frozen=True, slots=True)
class Champion:
    """A verified bundle that stands to be challenged."""

    folder: Path
    manifest: Manifest
    evidence: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, config: Config) -> Self:
        """BundleError if the bundle is damaged; ConfigError if it has another size than `config` asks for."""
        folder = folder.resolve()
        manifest = verify_bundle(folder, schema_hash=SCHEMA_HASH)
        wanted = config.model.model_dump(mode="json")
        if manifest.config["model"] != wanted:
            odd = [key for key in wanted if manifest.config["model"].get(key) != wanted[key]]
            raise ConfigError(
                f"--from {folder.name}: model.{odd[0]} is {manifest.config['model'].get(odd[0])} there and "
                f"{wanted[odd[0]]} here; a bundle is trained further at its own size: set it to the former"
            )
        return cls(folder, manifest, json.loads((folder / EVIDENCE).read_bytes()))

    @property
    def revision(self) -> str:
        return self.manifest.revision

    @property
    def trials(self) -> int:
        """Trainings that were compared with each other on the way to this bundle, itself included."""
        return int(self.evidence.get("trials", 1))

    def fill(self, nets: Nets) -> None:
        """Puts the bundle's tensors, scaler and units included, into networks of its size."""
        model = {f"encoder.{name}": tensor for name, tensor in load_file(self.folder / "encoders.safetensors").items()}
        model |= load_file(self.folder / "world_model.safetensors")
        policy = load_file(self.folder / "policy.safetensors")
        try:
            nets.model.load_state_dict(model)
            for name, module in (("policy.", nets.policy), ("critic.", nets.critic)):
                module.load_state_dict({k.removeprefix(name): t for k, t in policy.items() if k.startswith(name)})
        except RuntimeError as error:
            raise BundleError(f"bundle {self.folder.name}: its tensors do not fit this build: {error}") from None

    def nets(self) -> Nets:
        """The bundle's own networks, on the CPU, for judging."""
        nets = Nets.of(ModelConfig.model_validate(self.manifest.config["model"]))
        self.fill(nets)
        for module in (nets.model, nets.policy, nets.critic):
            module.eval().requires_grad_(False)
        return nets
