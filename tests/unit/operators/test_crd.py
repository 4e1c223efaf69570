"""The CRD is structural, says what the guard says, and its bounds are the configuration's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from cryptoai.core.config import RiskConfig
from operators.api.crd import crd, crd_yaml, structural
from operators.api.docs import render
from operators.api.reasons import ConditionType, Reason
from operators.api.tradingbot import Risk, TradingBotSpec

Obj = dict[str, Any]
ROOT = Path(__file__).resolve().parents[3]


def schema() -> Obj:
    found: Obj = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(node: Obj, path: str = "") -> Iterator[tuple[str, Obj]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")


def test_the_schema_is_structural() -> None:
    """Every node has a type; nothing that a structural schema forbids is said; every list and text is bounded."""
    forbidden = {"$ref", "$defs", "title", "additionalProperties", "uniqueItems", "const", "nullable"}
    for path, node in nodes(schema()):
        assert node.get("type"), path
        assert not forbidden & node.keys(), path
        assert not isinstance(node.get("exclusiveMinimum", False), float), path
        if node["type"] == "array":
            assert "maxItems" in node, path
        if path.startswith(".spec") and node["type"] == "string":
            assert {"maxLength", "enum", "pattern"} & node.keys(), path
        if path.startswith(".spec") and not path.endswith("[]"):
            assert node["description"], path


def test_limits_are_the_configurations() -> None:
    """Bounds of each limit, as the judge's own configuration has them."""
    risk = schema()["properties"]["spec"]["properties"]["risk"]
    assert "default" not in risk
    for name in Risk.model_fields:
        source = RiskConfig.model_json_schema()["properties"][name]
        made = risk["properties"][to_camel(name)]
        assert made["maximum"] == source["maximum"]
        assert made["minimum"] == source.get("minimum", source.get("exclusiveMinimum"))
        assert made.get("exclusiveMinimum", False) == ("exclusiveMinimum" in source)
        assert f"Without it: {source['default']:g}." in made["description"]


def test_no_fraction_is_a_lowest_value() -> None:
    """A 1.20 server cuts the fraction of a minimum off when the value is whole: 0 would pass a minimum of 0.1."""
    for path, node in nodes(schema()):
        assert float(node.get("minimum", 0)).is_integer(), path


def filled(node: Obj, value: Any) -> Any:
    """What a server makes of an object: defaults, from the outside in."""
    if not isinstance(value, dict):
        return value
    made = dict(value)
    for name, inner in node.get("properties", {}).items():
        if name not in made and "default" in inner:
            made[name] = inner["default"]
        if name in made:
            made[name] = filled(inner, made[name])
    return made


def test_defaults_of_the_schema_are_those_of_the_guard() -> None:
    """A bare spec means the same before and after the server filled it."""
    bare = {"assets": ["BTCUSDT"], "model": {"claim": "a", "path": "b"}}
    full = filled(schema()["properties"]["spec"], bare)
    assert full["execution"] == {"decisionIntervalMs": 1000, "speed": 1.0}
    assert TradingBotSpec.model_validate(full) == TradingBotSpec.model_validate(bare)


def test_cross_field_rules_are_in_the_schema() -> None:
    """Live without every limit and a kill without a reason are refused by the server itself."""
    spec = schema()["properties"]["spec"]
    live, tame = spec["anyOf"]
    assert live["properties"]["risk"]["required"] == [to_camel(name) for name in Risk.model_fields]
    assert tame["properties"]["mode"]["enum"] == ["shadow", "paper"]
    assert spec["properties"]["killSwitch"]["anyOf"][0]["required"] == ["reason"]


def test_columns_show_what_a_person_asks_first() -> None:
    """Mode, phase, model, ready and age; the rest with -o wide. Status is a subresource."""
    version = crd()["spec"]["versions"][0]
    first = [column["name"] for column in version["additionalPrinterColumns"] if not column["priority"]]
    assert first == ["Mode", "Phase", "Model", "Ready", "Age"]
    assert version["subresources"] == {"status": {}}
    assert crd()["spec"]["names"]["shortNames"] == ["tb"]


def test_the_file_is_the_object() -> None:
    """YAML without aliases, which loads back."""
    assert yaml.safe_load(crd_yaml()) == crd()
    assert "&id" not in crd_yaml()
    assert (ROOT / "charts/cryptoai/crds/tradingbots.yaml").read_text() == crd_yaml()


def test_the_page_names_every_field_and_reason() -> None:
    """docs/tradingbot.md is complete."""
    text = render()
    for path, node in nodes(schema()["properties"]["spec"], "spec"):
        if "properties" not in node and not path.endswith("[]"):
            assert f"| `{path}` |" in text
    for word in (*Reason, *ConditionType):
        assert f"`{word}`" in text


def test_a_union_cannot_be_said() -> None:
    """A field of two types is a mistake of ours, found when the CRD is made."""

    class Odd(BaseModel):
        """Two types."""

        value: int | str

    with pytest.raises(ValueError, match="structural"):
        structural(Odd)


def test_a_server_fills_in_nothing_that_was_not_meant() -> None:
    """No default is null, for which a server refuses the whole definition; and a status is only what was found."""

    def defaults(node: Any) -> Iterator[Any]:
        if isinstance(node, Mapping):
            if "type" in node and "default" in node:
                yield node["default"]
            for inner in node.values():
                yield from defaults(inner)

    parts = schema()["properties"]
    assert list(defaults(parts["spec"]))
    assert None not in defaults(parts["spec"])
    assert not list(defaults(parts["status"]))
