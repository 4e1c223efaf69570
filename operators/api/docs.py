"""docs/tradingbot.md, from the CRD: every field with its type, its bounds and its default, and what the status says.

Called by `scripts/generate.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from operators.api.crd import MADE, crd
from operators.api.reasons import Reason

__all__ = ["render"]

Schema = dict[str, Any]

_INTRO = """\
# TradingBot

`apiVersion: cryptoai.dev/v1alpha1`, `kind: TradingBot`, short name `tb`, category `cryptoai`, namespaced. One object is
one bot: a server that holds its model, a pod that decides, a volume with its journal, and the limits that the judge
enforces.

```yaml
apiVersion: cryptoai.dev/v1alpha1
kind: TradingBot
metadata:
  name: btc
spec:
  mode: shadow
  assets: [BTCUSDT]
  model: {claim: bundles, path: best}
  risk: {maxPositionPct: 0.1, maxLeverage: 3}
```

The name has at most 40 characters: lower-case letters, digits and dashes, starting with a letter. An unknown key is
refused by `kubectl apply` (it validates against the schema); a server of before Kubernetes 1.25 drops one that arrives
by another way."""

_KILL = """\
## Kill switch

```
kubectl patch tb btc --type merge -p '{"spec":{"killSwitch":{"engaged":true,"reason":"why","releasedBy":null}}}'
kubectl patch tb btc --type merge -p '{"spec":{"killSwitch":{"engaged":false,"reason":"why","releasedBy":"who"}}}'
```

The first stops every new order within a second: the bot's pod watches its own TradingBot, so this works while the
operator is down. It is latched: only the second, which says who and why, releases it. `engaged: false` alone changes
nothing, nor do words that stood there while it was engaged, and the condition `Halted` says so with the reason
`ReleaseNotNamed`. The pod keeps running while it is halted.

While the pod is away the operator keeps the latch in `status.latch`, and the bot obeys it when it starts. If the spec
changed more than once while neither of them looked, one of those changes may have been a kill: both hold it engaged
(`SpecUnseen`) until somebody releases it."""

_CONDITIONS = """\
## Conditions

| type | True means |
|---|---|
| `Ready` | the bot's pod runs, is ready and was given the current spec |
| `ModelReady` | the inference server has loaded the bundle |
| `FeaturesReady` | the bot reads the online store |
| `Halted` | no new order is sent; latched until released |
| `Degraded` | something must be mended; the message says what |

`phase` is the conditions in one word: Halted, else Degraded, else Suspended, else Running, else Pending. Each
condition carries one of these constant words in `reason`: """


def render() -> str:
    """The whole page, Markdown."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    rules = "\n\n".join([_table("spec", schema["spec"]), _KILL, _table("status", schema["status"])])
    reasons = ", ".join(f"`{reason}`" for reason in Reason) + "."
    return f"<!-- {MADE} -->\n\n{_INTRO}\n\n{rules}\n\n{_CONDITIONS}{reasons}\n"


def _table(name: str, schema: Schema) -> str:
    rows = [
        f"| `{path}` | {_kind(node)} | {_default(node, required=required)} | {node.get('description', '')} |"
        for path, node, required in _fields(name, schema)
    ]
    return "\n".join([f"## {name}", "", "| field | takes | default | meaning |", "|---|---|---|---|", *rows])


def _fields(path: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    for name, node in schema.get("properties", {}).items():
        inner = f"{path}.{name}"
        if "properties" not in node:
            yield inner, node, name in schema.get("required", ())
        yield from _fields(inner, node)
        yield from _fields(f"{inner}[]", node.get("items", {}))


def _kind(node: Schema) -> str:
    words = {"integer": "whole number", "number": "number", "boolean": "true or false", "array": "list"}
    if "enum" in node:
        return "one of: " + ", ".join(json.dumps(value).strip('"') for value in node["enum"])
    text = words.get(node["type"], "text")
    if node["type"] == "array":
        text += f" of {_kind(node['items'])}" if "properties" not in node["items"] else ""
    return text + "".join(_bound(node, key, words) for key, words in _BOUNDS.items() if key in node)


_BOUNDS = {
    "minimum": ("at least", "above"),
    "maximum": ("at most", "below"),
    "minItems": ("at least", ""),
    "maxItems": ("at most", ""),
    "maxLength": ("characters at most", ""),
    "pattern": ("matching", ""),
}


def _bound(node: Schema, key: str, words: tuple[str, str]) -> str:
    exclusive = node.get({"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}.get(key, ""), False)
    value = f"`{node[key]}`" if key == "pattern" else node[key]
    return f", {words[1] if exclusive else words[0]} {value}"


def _default(node: Schema, *, required: bool) -> str:
    if required:
        return "required"
    return f"`{json.dumps(node['default'])}`" if "default" in node else ""
