"""TradingBot v1alpha1: what a person may ask of a bot (spec) and what the operator found (status).

The CRD and docs/tradingbot.md are generated from these classes, the operator's guard validates with them, so the three
cannot disagree. Bounds of limits come from `cryptoai.core.config`; none is written twice. The status says facts only:
a command never lives in it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from cryptoai.core.config import ExecutionConfig, FeaturesConfig, RiskConfig, Section

__all__ = [
    "GROUP",
    "KIND",
    "NAME_MAX",
    "NAME_PATTERN",
    "PLURAL",
    "VERSION",
    "Condition",
    "Data",
    "Execution",
    "Features",
    "KillSwitch",
    "LastDecision",
    "Latch",
    "Model",
    "Risk",
    "TradingBotSpec",
    "TradingBotStatus",
]

GROUP, VERSION, KIND, PLURAL = "cryptoai.dev", "v1alpha1", "TradingBot", "tradingbots"
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_MAX = 40  # leaves room for the suffixes of children and for the hash in a pod's label, which ends at 63


class Words(BaseModel):
    """camelCase on the wire, closed, frozen; numbers are not guessed from text."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
    )


def _bounded(section: type[Section], key: str, default: Any = ..., **override: Any) -> Any:
    """A field with the bounds, and the unit and effect, of a configuration key."""
    source = section.model_fields[key]
    names = ("ge", "gt", "le", "lt")
    bounds = {n: getattr(part, n) for part in source.metadata for n in names if getattr(part, n, None) is not None}
    return Field(default, **({"description": source.description} | bounds | override))


def _limit(key: str) -> Any:
    """A limit of the judge: optional here, because live mode must be able to ask for each by name."""
    source = RiskConfig.model_fields[key]
    return _bounded(RiskConfig, key, None, description=f"{source.description} Without it: {source.default:g}.")


def _distinct(assets: list[str]) -> list[str]:
    if len(set(assets)) != len(assets):
        raise PydanticCustomError("distinct", "each asset may be named once")
    return assets


class Model(Words):
    """The trained bundle that decides."""

    claim: str = Field(
        description="PersistentVolumeClaim in the bot's namespace that holds bundles; mounted read-only.",
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]+([-.]+[a-z0-9]+)*$",
    )
    path: str = Field(
        description="Folder of the bundle inside the claim, relative to its root.",
        min_length=1,
        max_length=512,
        pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*)(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$",
    )
    revision: str | None = Field(
        None, description="Pin: the only revision (32 hex digits) the bot may take.", pattern=r"^[0-9a-f]{32}$"
    )


class Features(Words):
    """Where the state vector comes from."""

    max_age_seconds: float = _bounded(FeaturesConfig, "max_age_s", FeaturesConfig().max_age_s)
    secret: str | None = Field(
        None,
        description="Secret in the bot's namespace whose key `password` opens the online store.",
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]+([-.]+[a-z0-9]+)*$",
    )


class Data(Words):
    """The market data."""

    sample: Literal[True] = Field(True, description="The packaged tape: the only source of this version.")


class Execution(Words):
    """The rhythm of decisions."""

    decision_interval_ms: int = _bounded(
        ExecutionConfig, "decision_interval_ms", ExecutionConfig().decision_interval_ms
    )
    speed: float = Field(1.0, ge=0, le=1000, description="Replay speed: 1 is as recorded, 0 is without pauses.")


class Risk(Words):
    """The judge's limits. Live mode needs each of them given."""

    max_position_pct: float | None = _limit("max_position_pct")
    max_leverage: float | None = _limit("max_leverage")
    stop_loss_pct: float | None = _limit("stop_loss_pct")
    max_drawdown_pct: float | None = _limit("max_drawdown_pct")
    max_daily_loss_pct: float | None = _limit("max_daily_loss_pct")
    max_orders_per_minute: int | None = _limit("max_orders_per_minute")

    def missing(self) -> tuple[str, ...]:
        """Limits that were not given, by their names on the wire."""
        return tuple(to_camel(name) for name in type(self).model_fields if getattr(self, name) is None)


class KillSwitch(Words):
    """Stops every new order within a second. Latched: it stays engaged until released by name."""

    engaged: bool = Field(False, description="true stops new orders at once and cancels open ones.")
    reason: str | None = Field(
        None, description="Why it was engaged or released, in words.", min_length=1, max_length=256
    )
    released_by: str | None = Field(
        None,
        description="Who releases it. After it was engaged, `engaged: false` counts only with this and a reason.",
        min_length=1,
        max_length=128,
    )

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.engaged and not self.reason:
            raise PydanticCustomError("kill_reason", "killSwitch.reason is required when killSwitch.engaged is true")
        return self


Asset = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,20}$", max_length=20)]


class TradingBotSpec(Words):
    """What the bot may do."""

    mode: Literal["shadow", "paper", "live"] = Field(
        "shadow", description="How far the bot may climb; live is refused by this version."
    )
    assets: Annotated[list[Asset], AfterValidator(_distinct)] = Field(
        description="What to trade, by symbol, for example BTCUSDT.", min_length=1, max_length=8
    )
    model: Model
    features: Features = Field(default_factory=Features)
    data: Data = Field(default_factory=Data)
    execution: Execution = Field(default_factory=Execution)
    risk: Risk | None = Field(None, description=Risk.__doc__)
    kill_switch: KillSwitch = Field(default_factory=KillSwitch)
    suspend: bool = Field(False, description="true stops the bot's pod, a planned stop; its journal is kept.")

    @model_validator(mode="after")
    def _live_has_all_limits(self) -> Self:
        missing = (self.risk or Risk()).missing()
        if self.mode == "live" and missing:
            names = ", ".join(f"spec.risk.{name}" for name in missing)
            raise PydanticCustomError("live_limits", "mode live needs every limit given; add {names}", {"names": names})
        return self


class LastDecision(Words):
    """The newest decision that the bot reported."""

    number: int = Field(description="How many decisions the bot has taken.", ge=0)
    time: str = Field(description="Market time of the newest, RFC 3339 UTC.")


class Latch(Words):
    """The words that stood in spec.killSwitch while it was engaged; a release says others."""

    reason: str | None = Field(None, description="Why it was engaged.", max_length=256)
    released_by: str | None = Field(
        None, description="Who an earlier release named, if the name stood there still.", max_length=128
    )


class Condition(Words):
    """One fact about the bot, with the machine's word and the person's sentence for it."""

    type: str = Field(description="Ready, ModelReady, FeaturesReady, Halted or Degraded.", max_length=316)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(description="One constant word.", min_length=1, max_length=1024)
    message: str = Field(description="What is so, and what to do about it.", max_length=32768)
    observed_generation: int = Field(description="The generation of the spec it speaks of.", ge=0)
    last_transition_time: str = Field(description="When status last changed, RFC 3339 UTC.")


class TradingBotStatus(Words):
    """What the operator found."""

    observed_generation: int | None = Field(None, description="The generation of the spec that was acted on.", ge=0)
    phase: Literal["Pending", "Running", "Degraded", "Suspended", "Halted"] | None = Field(
        None, description="The conditions in one word, for people."
    )
    mode: Literal["shadow", "paper", "live"] | None = Field(None, description="The mode in effect.")
    config_revision: str | None = Field(None, description="Suffix of the ConfigMap that the bot was given.")
    model_revision: str | None = Field(None, description="Revision of the bundle that the server has loaded.")
    last_decision: LastDecision | None = Field(None, description=LastDecision.__doc__)
    latch: Latch | None = Field(
        None, description="There from the kill until its release; the bot reads it at its start."
    )
    conditions: list[Condition] | None = Field(None, description="One entry a type.", max_length=16)
