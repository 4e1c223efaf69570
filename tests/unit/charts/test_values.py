"""values.schema.json refuses what the chart would not understand, and names it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[3] / "charts" / "cryptoai"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())

REFUSED = [
    ({"replicas": 2}, "replicas"),
    ({"operator__replicas": 2}, "replicas"),
    ({"operator__podMonitor__enable": True}, "enable"),
    ({"operator__logLevel": "loud"}, "operator.logLevel"),
    ({"operator__watchNamespace": "My Desk"}, "operator.watchNamespace"),
    ({"operator__resources": {"limits": {"memory": "1GB"}}}, "operator.resources.limits.memory"),
    ({"images__bot__tag": "a b"}, "images.bot.tag"),
    ({"images__bott__tag": "dev"}, "bott"),
    ({"images__pullPolicy": "Sometimes"}, "images.pullPolicy"),
    ({"redis__port": 70000}, "redis.port"),
    ({"redis__port": "6379"}, "redis.port"),
    ({"redis__enabled": False}, "redis.host"),
    ({"redis__maxMemory": "128Mi"}, "redis.maxMemory"),
    ({"bundles__size": 1}, "bundles.size"),
    ({"bundles__create": "yes"}, "bundles.create"),
    ({"bundles__accessMode": "ReadOnlyMany"}, "bundles.accessMode"),
    ({"rbac__aggregate": None}, "aggregate"),
    ({"tolerations": [{"keys": "x"}]}, "keys"),
    ({"nodeSelector": {"disk": True}}, "nodeSelector.disk"),
]


@pytest.mark.parametrize(("values", "named"), REFUSED, ids=[str(values) for values, _ in REFUSED])
def test_a_bad_value_is_refused_by_name(template: Callable[..., Any], values: dict[str, Any], named: str) -> None:
    """The message holds the key (Helm 3 writes a.b, Helm 4 /a/b), and nothing is rendered."""
    done = template(**values)
    assert done.returncode != 0
    assert re.search(rf"\b{re.escape(named)}\b", done.stderr.replace("/", "."))
    assert not done.stdout.strip()


def groups(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every part of the schema that describes a mapping, its conditions aside."""
    if schema.get("type") == "object":
        yield schema
    for key in ("properties", "definitions"):
        for below in schema.get(key, {}).values():
            yield from groups(below)
    if "items" in schema:
        yield from groups(schema["items"])


def test_every_mapping_is_closed() -> None:
    """Open are what Helm hands down and what is a free map by nature."""
    is_open = [g for g in groups(SCHEMA) if g.get("additionalProperties") is not False]
    assert is_open == [SCHEMA["properties"]["global"], SCHEMA["properties"]["nodeSelector"]]
    assert len(list(groups(SCHEMA))) > 10


def leaves(schema: dict[str, Any], values: dict[str, Any], path: str = "") -> Iterator[tuple[str, set[str], set[str]]]:
    """Path, keys of the schema and keys of the values, of each mapping that the schema requires to be whole."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    if "required" not in schema:
        return
    yield path, set(schema["properties"]) - {"global"}, set(values)
    assert set(schema["required"]) == set(schema["properties"]) - {"global"}, path
    for key, value in values.items():
        if isinstance(value, dict) and key in schema["properties"]:
            yield from leaves(schema["properties"][key], value, f"{path}/{key}")


def test_the_schema_and_the_values_have_the_same_keys() -> None:
    """What is documented can be set, and what can be set is documented."""
    seen = list(leaves(SCHEMA, VALUES))
    assert [path for path, allowed, given in seen if allowed != given] == []
    assert len(seen) > 8
