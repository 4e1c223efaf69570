"""The bot's identity in the cluster: it may read its own TradingBot and nothing else."""

from __future__ import annotations

from cryptoai.deployment.workload import Obj, Workload, child

__all__ = ["access_objects"]


def access_objects(bot: Workload) -> list[Obj]:
    """ServiceAccount, Role and RoleBinding. A watch of one name needs `list` and `watch` with that resourceName."""
    rule = {
        "apiGroups": ["cryptoai.dev"],
        "resources": ["tradingbots"],
        "resourceNames": [bot.name],
        "verbs": ["get", "list", "watch"],
    }
    subject = {"kind": "ServiceAccount", "name": bot.bot, "namespace": bot.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": bot.bot}
    return [
        child(bot, "ServiceAccount", bot.bot, "bot"),
        child(bot, "Role", bot.bot, "bot", rules=[rule]),
        child(bot, "RoleBinding", bot.bot, "bot", roleRef=role, subjects=[subject]),
    ]
