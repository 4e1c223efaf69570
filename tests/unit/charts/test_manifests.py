"""The examples are what the operator accepts, and the overlays build."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.api.tradingbot import GROUP, KIND, VERSION, TradingBotSpec

ROOT = Path(__file__).parents[3]
MANIFESTS = ROOT / "manifests"
BOTS = sorted([*MANIFESTS.glob("examples/tradingbot-*.yaml"), *MANIFESTS.glob("base/tradingbot*.yaml")])
CLAIM = yaml.safe_load((ROOT / "charts/cryptoai/values.yaml").read_text())["bundles"]["name"]


def spec(thing: dict[str, Any]) -> TradingBotSpec:
    assert (thing["apiVersion"], thing["kind"]) == (f"{GROUP}/{VERSION}", KIND)
    return TradingBotSpec.model_validate(thing["spec"])


@pytest.mark.parametrize("path", BOTS, ids=lambda path: path.stem)
def test_an_example_is_valid(path: Path) -> None:
    """It reads the claim that the chart makes, and never trades live."""
    wanted = spec(yaml.safe_load(path.read_text()))
    assert wanted.model.claim == CLAIM
    assert wanted.mode != "live"


def test_the_full_example_is_full() -> None:
    """Every key is there, optional ones at least as a comment."""
    text = (MANIFESTS / "examples/tradingbot-full.yaml").read_text()
    bare = yaml.safe_load(text.replace("    # revision", "    revision").replace("    # secret", "    secret"))
    given = spec(bare).model_dump(by_alias=True)
    given["killSwitch"].update(reason="", releasedBy="")
    assert None not in given.values()
    assert not [
        f"{key}.{k}" for key, group in given.items() if isinstance(group, dict) for k in group if group[k] is None
    ]


def test_the_minimal_example_is_minimal() -> None:
    """Without any of its keys it would be refused."""
    thing = yaml.safe_load((MANIFESTS / "examples/tradingbot-minimal.yaml").read_text())
    assert set(thing["spec"]) == {name for name, field in TradingBotSpec.model_fields.items() if field.is_required()}


def test_the_overlay_changes_what_it_says() -> None:
    """kustomize joins base and overlay to a valid bot in the namespace of the docs."""
    kubectl = shutil.which("kubectl", path=str(ROOT / ".tools" / "bin")) or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no .tools/bin/kubectl; `make tools` fetches it")
    command = [kubectl, "kustomize", str(MANIFESTS / "overlays" / "local")]
    built = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    bot = yaml.safe_load(built)
    assert bot["metadata"]["namespace"] == "cryptoai"
    wanted = spec(bot)
    assert wanted.execution.speed == 10
    assert wanted.risk is not None
    assert wanted.risk.max_leverage == 2.5
    assert wanted.risk.max_position_pct == 0.1
