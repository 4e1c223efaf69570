"""The bot's configuration file as a ConfigMap that is named after its content and never changes.

A new content is a new object, so a running pod is never handed a file that changed under it, and going back is naming
the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cryptoai.core.ids import content_hash
from cryptoai.deployment.workload import Obj, Workload, child

__all__ = ["FILE", "config_map", "revision", "settings_yaml"]

FILE = "settings.yaml"


def settings_yaml(tree: Mapping[str, Any]) -> str:
    """`cryptoai.core.config` as the text of --config: sorted, so that equal settings are equal bytes."""
    return yaml.safe_dump(dict(tree), sort_keys=True, default_flow_style=False)


def revision(settings: str) -> str:
    """Eight hex digits of the content."""
    return content_hash(settings.encode(), 8)


def config_map(bot: Workload) -> Obj:
    name = f"{bot.name}-config-{revision(bot.settings)}"
    return child(bot, "ConfigMap", name, "config", immutable=True, data={FILE: bot.settings})
