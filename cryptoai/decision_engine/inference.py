"""The model as the bot meets it: a verified bundle in, one deterministic answer for a history of states out.

The inference server and in-process runs call it. It must never draw at random, read a clock, keep anything between two
calls, or answer with a number that is not finite: whatever cannot be trusted is refused with ModelUnavailableError,
and a state that the model does not know gets the safe action and the alarm (invariant 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from cryptoai.black_swan.alarm import ALARM
from cryptoai.black_swan.guard import RiskModel
from cryptoai.core.bundle import Manifest, verify_bundle
from cryptoai.core.config import ModelConfig
from cryptoai.core.errors import BundleError, ModelUnavailableError
from cryptoai.core.messages import SAFE_ACTION, Inference
from cryptoai.core.state import StateVector
from cryptoai.data_universe.schema import SCHEMA_HASH, WIDTH, index
from cryptoai.decision_engine.critic import Critic
from cryptoai.decision_engine.forecast import horizon_names, outlook
from cryptoai.decision_engine.policy import ACTIONS, Policy
from cryptoai.decision_engine.reward import WEIGHTS
from cryptoai.world_model import WorldModel, load
from cryptoai.world_model.frozen import FrozenModel, Newest

__all__ = ["LEAST_COVERAGE", "InferenceEngine"]

LEAST_COVERAGE = 0.5
"""Share of the features usual in training that the newest state must have; below, it is not judged but refused."""
STRANGEST = 1000.0
"""Largest anomaly score that is reported; the score of a state with nothing in it."""

_POSITION = index("position_share")
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a bundle holds, ready to compute."""

    world_model: WorldModel
    policy: Policy
    critic: Critic
    risk: RiskModel


class InferenceEngine:
    """One bundle, frozen, float32, on the CPU. Safe to share between threads: a call changes nothing."""

    def __init__(self, manifest: Manifest, parts: _Parts, config: ModelConfig) -> None:
        self._manifest, self._parts = manifest, parts
        self.revision = manifest.revision
        self.schema_hash = manifest.schema_hash
        self.context = config.context
        self._market = FrozenModel(parts.world_model, config.context)
        self._horizons = horizon_names(int(manifest.config["decision_interval_ms"]))
        self._unit_bps = float(parts.world_model.return_scale) * 1e4

    @classmethod
    def load(cls, bundle_dir: Path | str, *, threads: int | None = 1, weights: Sequence[float] | None = None) -> Self:
        """Verifies the folder (or link to one) and loads it; BundleError names what is wrong.

        threads: of torch, for the whole process (one is fastest for one decision); None leaves the setting alone.
        weights: of the five objectives, to decide by others than the bundle carries; ConfigError if out of range.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        folder = Path(bundle_dir).resolve()
        manifest = verify_bundle(folder, schema_hash=SCHEMA_HASH)
        config = _model_config(folder, manifest)
        world_model = load(folder, config)
        policy = Policy(world_model.feature_dim, config.hidden_dim)
        critic = Critic(world_model.feature_dim, config.hidden_dim)
        _fill(folder, nn.ModuleDict({"policy": policy, "critic": critic}))
        for module in (world_model, policy, critic):
            _freeze(folder, module)
        if weights is not None:
            policy.use(weights)
        risk = RiskModel.from_tensors(load_file(folder / "risk.safetensors"))
        return cls(manifest, _Parts(world_model, policy, critic, risk), config)

    def decide(self, history: Sequence[StateVector]) -> Inference:
        """The answer for the newest state of `history` (oldest first; the newest `context` states are used).

        The action is the policy's mode. ModelUnavailableError: no state, another schema, times that go back, values or
        an answer that are not finite. The safe action with alarm = True: a state that is out of distribution, has too
        little in it, or follows such states too closely.
        """
        values, mask = self._columns(history)
        with torch.inference_mode():
            answer = self._answer(self._market.newest(*self._padded(values, mask)), values, mask)
        return self._checked(answer)

    def decide_batch(self, histories: Sequence[Sequence[StateVector]]) -> list[Inference]:
        """`decide` of each, one by one: an answer must not depend on what else was asked, not even by rounding."""
        return [self.decide(history) for history in histories]

    def warm_up(self, rounds: int = 3) -> None:
        """Decides on an empty state a few times, so that the first real decision pays no first-call costs."""
        empty = StateVector.of("warm:UP", (0, 0), self.schema_hash, [0.0] * WIDTH, [False] * WIDTH)
        for _ in range(rounds):
            self.decide([empty] * self.context)

    def _columns(self, history: Sequence[StateVector]) -> tuple[Floats, Bools]:
        """Values and mask, [T, 200] each, of the newest `context` states."""
        if not history:
            raise ModelUnavailableError("the history holds no state; send at least the newest one")
        used = history[-self.context :]
        self._check(used)
        values = np.frombuffer(b"".join(state.values for state in used), dtype="<f4").reshape(len(used), WIDTH)
        mask = np.frombuffer(b"".join(state.mask for state in used), dtype=np.uint8).reshape(len(used), WIDTH) > 0
        if not np.isfinite(values).all():
            raise ModelUnavailableError("a state holds a value that is not finite; mask it as missing")
        return values, mask

    def _check(self, states: Sequence[StateVector]) -> None:
        for state in states:
            if state.schema_hash != self.schema_hash or state.width != WIDTH:
                raise ModelUnavailableError(
                    f"the state has schema {state.schema_hash} and {state.width} features, "
                    f"the bundle expects {self.schema_hash} and {WIDTH}"
                )
        if len({state.instrument for state in states}) > 1:
            raise ModelUnavailableError("the history mixes instruments; send one history for each")
        if any(late.known_at < early.known_at for early, late in pairwise(states)):
            raise ModelUnavailableError("known_at goes back within the history; send it oldest first")

    def _padded(self, values: Floats, mask: Bools) -> tuple[Tensor, Tensor]:
        """(context, 200) with empty steps before a short history."""
        full, present = np.zeros((self.context, WIDTH), np.float32), np.zeros((self.context, WIDTH), np.bool_)
        full[self.context - len(values) :] = values
        present[self.context - len(mask) :] = mask
        return torch.from_numpy(full), torch.from_numpy(present)

    def _answer(self, newest: Newest, values: Floats, mask: Bools) -> dict[str, Any]:
        ahead = outlook(*self._market.forecast(newest))
        var99, es99 = self._parts.risk.loss(0.99, ahead.mean[0], ahead.sd[0], values[-1], mask[-1])
        anomaly, alarm = self._strangeness(values, mask)
        action, value = self._act(newest.feature, float(values[-1, _POSITION]) if mask[-1, _POSITION] else 0.0)
        return {
            "action": SAFE_ACTION if alarm else action,
            "return_bps": self._bps(dict(zip(self._horizons, ahead.mean, strict=True))),
            "return_sd_bps": self._bps(dict(zip(self._horizons, ahead.sd, strict=True))),
            "quantiles_bps": self._bps(ahead.quantiles),
            "regime": ahead.regime,
            "var99_bps": var99 * self._unit_bps,
            "es99_bps": es99 * self._unit_bps,
            "anomaly": anomaly,
            "alarm": alarm,
            "value": value,
        }

    def _act(self, feature: Tensor, exposure: float) -> tuple[dict[str, float], float]:
        held = torch.tensor([min(max(exposure, -1.0), 1.0)])
        seen = self._parts.policy.situate(feature)
        chosen = self._parts.policy(seen, held).mode()[0].tolist()
        values = self._parts.critic(seen, held)[0].tolist()
        return dict(zip(ACTIONS, chosen, strict=True)), sum(w * v for w, v in zip(WEIGHTS, values, strict=True))

    def _strangeness(self, values: Floats, mask: Bools) -> tuple[float, bool]:
        """Anomaly score of the newest state, and the alarm of all signs over the history."""
        signs = self._parts.risk.signs(values, mask)
        score = signs.anomaly
        coverage = self._parts.risk.anomaly.coverage(mask)
        empty = np.minimum(LEAST_COVERAGE / np.maximum(coverage, 1e-9), STRANGEST)
        strange = np.minimum(np.where(coverage < LEAST_COVERAGE, np.maximum(score, empty), score), STRANGEST)
        return float(strange[-1]), ALARM.raised(np.maximum(strange, signs.level()).tolist())

    def _bps(self, units: dict[str, float]) -> dict[str, float]:
        return {name: value * self._unit_bps for name, value in units.items()}

    def _checked(self, answer: dict[str, Any]) -> Inference:
        try:
            return Inference(revision=self.revision, schema_hash=self.schema_hash, **answer)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise ModelUnavailableError(f"the model's answer is not usable: {where} is not a finite number") from None


def _model_config(folder: Path, manifest: Manifest) -> ModelConfig:
    try:
        if int(manifest.config["decision_interval_ms"]) <= 0:
            raise ValueError("decision_interval_ms must be positive")
        return ModelConfig(**manifest.config["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"bundle {folder.name}: its config cannot be used ({error}); train a new bundle") from None


def _fill(folder: Path, modules: nn.ModuleDict) -> None:
    try:
        modules.load_state_dict(load_file(folder / "policy.safetensors"))
    except RuntimeError as error:
        raise BundleError(f"bundle {folder.name}: policy.safetensors does not fit its config: {error}") from None


def _freeze(folder: Path, module: nn.Module) -> None:
    module.float().eval().requires_grad_(False)
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise BundleError(f"bundle {folder.name}: {name} holds values that are not finite; train a new bundle")
