"""What scripts/generate.py writes is complete, loads back, and is noticed when stale."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from cryptoai.core.config import Config, build, keys

ROOT = Path(__file__).resolve().parents[3]

PROMISED = {
    "model": {"state_dim": 200, "hidden_dim": 256, "latent_dim": 128, "action_dim": 4},
    "training": {
        "batch_size": 64,
        "learning_rate": 0.0003,
        "encoder_epochs": 10,
        "world_model_epochs": 50,
        "policy_epochs": 100,
    },
    "risk": {"max_position_pct": 0.1, "max_leverage": 5, "stop_loss_pct": 0.02, "max_drawdown_pct": 0.1},
    "execution": {"mode": "shadow", "order_type": "limit", "max_slippage_bps": 50},
}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "scripts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_default_yaml_has_the_promised_values() -> None:
    """The file a user opens first holds every promised key with its value."""
    raw = yaml.safe_load((ROOT / "configs/default.yaml").read_text())
    for section, values in PROMISED.items():
        for key, value in values.items():
            assert raw[section][key] == value, f"{section}.{key}"


def test_default_yaml_is_the_defaults() -> None:
    """Loading it changes nothing, and no key is missing from it."""
    raw = yaml.safe_load((ROOT / "configs/default.yaml").read_text())
    assert build(raw) == Config()
    assert {f"{section}.{key}" for section, values in raw.items() for key in values} == set(keys())


def test_every_key_has_a_comment_above_it() -> None:
    """A reader sees unit and effect before the value."""
    lines = (ROOT / "configs/default.yaml").read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if line and not line.lstrip().startswith("#"):
            assert above.lstrip().startswith("#"), f"no comment above {line!r}"


def test_documentation_has_every_key() -> None:
    """docs/configuration.md has one row a key."""
    text = (ROOT / "docs/configuration.md").read_text()
    for key in keys():
        assert f"| `{key}` |" in text


def test_stale_files_are_named(generate: ModuleType, tmp_path: Path) -> None:
    """A hand-edited or missing file is found; writing repairs it."""
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []
    path = tmp_path / "configs/default.yaml"
    path.write_text(path.read_text().replace("max_leverage: 5", "max_leverage: 6"))
    assert generate.stale(tmp_path) == [Path("configs/default.yaml")]
    path.unlink()
    assert generate.stale(tmp_path) == [Path("configs/default.yaml")]
