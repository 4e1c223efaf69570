"""The CustomResourceDefinition of TradingBot, from its pydantic models.

`scripts/generate.py` writes it into the chart. The schema is structural (no $ref, every type said), so an API server
from 1.20 on accepts it and refuses by itself what it can see: types, bounds, patterns, unknown enum words, live mode
without limits, an engaged kill switch without a reason. What it cannot see, `operators.plans.guard` repeats.
"""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from operators.api.tradingbot import (
    GROUP,
    KIND,
    NAME_MAX,
    NAME_PATTERN,
    PLURAL,
    VERSION,
    Risk,
    TradingBotSpec,
    TradingBotStatus,
)

__all__ = ["MADE", "crd", "crd_yaml", "structural"]

Schema = dict[str, Any]

MADE = "Made by scripts/generate.py from operators/api/tradingbot.py; edit that, then run the script."
_KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "required",
)


def structural(model: type[BaseModel]) -> Schema:
    """OpenAPI v3 schema of a model as Kubernetes wants it. ValueError on what it could not say."""
    raw = model.model_json_schema(by_alias=True)
    return _node(raw, raw.get("$defs", {}))


def _node(raw: Schema, defs: dict[str, Schema]) -> Schema:
    raw = _resolved(raw, defs)
    made = {key: raw[key] for key in _KEPT if key in raw}
    if "description" in made:
        made["description"] = " ".join(str(made["description"]).split())
    if "const" in raw:
        made["enum"] = [raw["const"]]
    for bound, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if bound in raw:
            made |= {plain: raw[bound], bound: True}
    if raw.get("type") == "integer":
        made["format"] = "int64"
    if raw.get("default") is not None:
        made["default"] = raw["default"]
    if "items" in raw:
        made["items"] = _node(raw["items"], defs)
    if "properties" in raw:
        made["properties"] = {name: _node(inner, defs) for name, inner in raw["properties"].items()}
        if made["properties"] and "required" not in raw:
            made.setdefault("default", {})
    return made


def _resolved(raw: Schema, defs: dict[str, Schema]) -> Schema:
    """Follows a reference and takes the one real branch of an optional; what is said beside it wins."""
    branches = [branch for branch in raw.get("anyOf", []) if branch.get("type") != "null"]
    if len(branches) > 1:
        raise ValueError(f"a union of types has no structural schema: {raw}")
    if branches:
        raw = {**_resolved(branches[0], defs), **{key: value for key, value in raw.items() if key != "anyOf"}}
    if "$ref" in raw:
        raw = {**_resolved(defs[raw["$ref"].rsplit("/", 1)[1]], defs), **raw}
        del raw["$ref"]
    return raw


def _spec() -> Schema:
    schema = structural(TradingBotSpec)
    parts = schema["properties"]
    parts["assets"]["x-kubernetes-list-type"] = "set"
    parts["risk"].pop("default")  # absent must stay absent: live mode asks for it by name
    limits = [to_camel(name) for name in Risk.model_fields]
    # A server names the failures of the branch that matched most, so each branch says its word of the switch too.
    live = {"mode": {"enum": ["live"]}, "risk": {"required": limits}}
    schema["anyOf"] = [
        {"required": ["risk"], "properties": live},
        {"properties": {"mode": {"enum": ["shadow", "paper"]}}},
    ]
    engaged = {"required": ["reason"], "properties": {"engaged": {"enum": [True]}}}
    parts["killSwitch"]["anyOf"] = [engaged, {"properties": {"engaged": {"enum": [False]}}}]
    return schema


def _status() -> Schema:
    schema = structural(TradingBotStatus)
    schema.pop("default", None)
    schema["properties"]["latch"].pop("default")  # a latch that a server made up would stop every bot
    conditions = schema["properties"]["conditions"]
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return schema


def _columns() -> list[Schema]:
    def column(name: str, path: str, kind: str = "string", priority: int = 0) -> Schema:
        return {"name": name, "type": kind, "jsonPath": path, "priority": priority}

    return [
        column("Mode", ".status.mode"),
        column("Phase", ".status.phase"),
        column("Model", ".status.modelRevision"),
        column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        column("Decisions", ".status.lastDecision.number", "integer", 1),
        column("Config", ".status.configRevision", priority=1),
        column("Reason", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        column("Age", ".metadata.creationTimestamp", "date"),
    ]


def _version() -> Schema:
    name = {"type": "string", "maxLength": NAME_MAX, "pattern": NAME_PATTERN}
    schema = {
        "type": "object",
        "description": "A trading bot: a model that decides, under limits that it cannot lift.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this object's schema."},
            "kind": {"type": "string", "description": "Always TradingBot."},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": _spec(),
            "status": _status(),
        },
    }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(),
    }


def crd() -> Schema:
    """The whole object, apiextensions.k8s.io/v1."""
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": ["tb"],
        "categories": ["cryptoai"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}", "labels": {"app.kubernetes.io/name": "cryptoai"}},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [_version()]},
    }


class _Plain(yaml.SafeDumper):
    """Writes a repeated value out each time, instead of an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def crd_yaml() -> str:
    """charts/cryptoai/crds/tradingbots.yaml."""
    return f"# {MADE}\n" + yaml.dump(crd(), Dumper=_Plain, sort_keys=False, width=110)
