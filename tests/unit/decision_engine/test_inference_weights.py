"""A bundle decides by other weights of the objectives without being trained anew."""

from pathlib import Path

import pytest

from cryptoai.core.config import ModelConfig
from cryptoai.core.errors import ConfigError
from cryptoai.decision_engine.inference import InferenceEngine
from cryptoai.decision_engine.reward import WEIGHTS
from cryptoai.testing.bundles import states, untrained_bundle
from cryptoai.testing.market import synthetic_dataset

SMALL = ModelConfig(hidden_dim=16, latent_dim=16, layers=1, heads=2, context=4)


def test_other_weights_are_another_decision_and_the_default_is_the_bundles(tmp_path: Path) -> None:
    """Naming the default weights changes nothing; a four-fold cost changes the action; the forecast stays."""
    folder = untrained_bundle(tmp_path / "b", model=SMALL)
    history = states(synthetic_dataset(0, 2000), range(100, 104))
    plain, same, dear = (
        InferenceEngine.load(folder, weights=weights).decide(history)
        for weights in (None, WEIGHTS, (1.0, 4.0, 0.02, 0.01, 0.02))
    )
    assert plain == same
    assert plain.action != dear.action
    assert plain.return_bps == dear.return_bps


def test_weights_out_of_range_are_refused(tmp_path: Path) -> None:
    """More than eight times the default was never trained for."""
    folder = untrained_bundle(tmp_path / "b", model=SMALL)
    with pytest.raises(ConfigError, match="objective weight cost"):
        InferenceEngine.load(folder, weights=(1.0, 9.0, 0.02, 0.01, 0.02))
