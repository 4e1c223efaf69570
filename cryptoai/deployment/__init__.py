"""Kubernetes objects of a bot as plain dictionaries: built, never sent.

The operator's plans call it; it knows neither a cluster nor a domain package. Every builder is a pure function of
`Platform` (what the installation provides) and `Workload` (what one bot asks for).
"""

from cryptoai.deployment.access import access_objects
from cryptoai.deployment.bot import bot_objects
from cryptoai.deployment.inference import inference_objects
from cryptoai.deployment.settings import config_map, settings_yaml
from cryptoai.deployment.workload import MANAGED_BY, Platform, Workload, labels

__all__ = [
    "MANAGED_BY",
    "Platform",
    "Workload",
    "access_objects",
    "bot_objects",
    "config_map",
    "inference_objects",
    "labels",
    "settings_yaml",
]
