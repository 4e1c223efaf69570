"""Is this spec one that may be acted on? The same rules as the CRD, and those that a schema cannot say.

An API server of before 1.25 knows no cross-field rules and drops unknown keys, and a CRD may be older than the
operator; so nothing is believed. What is refused leaves the children as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cryptoai.core.config import build
from cryptoai.core.errors import ConfigError
from cryptoai.deployment.inference import ANSWER_MS
from operators.api.reasons import Reason
from operators.api.tradingbot import TradingBotSpec
from operators.plans.model import Finding

__all__ = ["Examined", "examine", "settings_of"]


@dataclass(frozen=True)
class Examined:
    """A spec that may be acted on, or the finding that says why not."""

    spec: TradingBotSpec | None
    refusal: Finding | None = None


def examine(raw: Any) -> Examined:
    """Never raises: a spec can be anything that a person can write."""
    try:
        spec = TradingBotSpec.model_validate(raw)
        build(settings_of(spec))
    except ValidationError as error:
        return _refused("; ".join(_sentence(item) for item in error.errors()))
    except ConfigError as error:
        return _refused(str(error))
    if spec.mode == "live":
        message = "spec.mode: this version does not trade live; set it to shadow or paper. The bot is left as it was."
        return Examined(None, Finding(Reason.LIVE_NOT_SUPPORTED, message, broken=True))
    return Examined(spec)


def settings_of(spec: TradingBotSpec) -> dict[str, dict[str, Any]]:
    """The keys of `cryptoai.core.config` that the spec decides; a limit that was not given is left to its default."""
    execution = {"mode": spec.mode, "decision_interval_ms": spec.execution.decision_interval_ms}
    tree: dict[str, dict[str, Any]] = {
        "execution": {**execution, "model_timeout_ms": ANSWER_MS},
        "features": {"max_age_s": spec.features.max_age_seconds},
    }
    limits = spec.risk.model_dump(exclude_none=True) if spec.risk else {}
    return {**tree, "risk": limits} if limits else tree


def _refused(what: str) -> Examined:
    message = f"{what}. Mend the spec; until then the bot is left as it was."
    return Examined(None, Finding(Reason.INVALID_SPEC, message, broken=True))


def _sentence(item: ErrorDetails) -> str:
    if item["type"] in _OWN:
        return str(item["msg"])
    path = ".".join(["spec", *map(str, item["loc"])])
    if item["type"] == "extra_forbidden":
        return f"{path} is not a field of TradingBot v1alpha1"
    if item["type"] == "missing":
        return f"{path} is required"
    text = str(item["msg"])
    shown = item["input"] if not isinstance(item["input"], Mapping | list) else type(item["input"]).__name__
    return f"{path} = {shown!r}: {text[:1].lower()}{text[1:]}"


_OWN = ("live_limits", "kill_reason")
