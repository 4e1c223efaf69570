"""Every knob of CryptoAI, its unit, its bounds and its effect; the only place where a default is written.

Composition roots read a YAML file, environment variables and `--set` into plain dictionaries and hand them to `build`;
everybody else is handed a frozen section. Secrets have no key here: they come from environment variables or files that
adapters read by name. configs/default.yaml and docs/configuration.md are generated from these classes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from cryptoai.core.errors import ConfigError

__all__ = [
    "BacktestConfig",
    "Config",
    "DashboardConfig",
    "DataConfig",
    "ExecutionConfig",
    "FeaturesConfig",
    "ModelConfig",
    "RiskConfig",
    "Section",
    "ServingConfig",
    "TrainingConfig",
    "build",
    "keys",
    "merge",
    "nest",
]


class Section(BaseModel):
    """A closed, frozen group of keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes and on as true, which pydantic would take for 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise PydanticCustomError("switch", "this key takes a number or text, not true or false")
        return value


class DataConfig(Section):
    """Where the lake is and how time is cut."""

    lake: str = Field("var/lake", description="Folder of the Parquet lake, relative to where the command runs.")
    sample_ms: int = Field(100, ge=10, le=60_000, description="Milliseconds between two rows of features for training.")
    train_share: float = Field(
        0.6, ge=0.1, le=0.9, description="Share of the tape, from its start, that training may see."
    )
    embargo_s: float = Field(
        2.0, ge=0, le=3600, description="Seconds between the last training label and the first test event."
    )


class FeaturesConfig(Section):
    """The feature store."""

    repo: str = Field("feature_repo", description="Folder of the Feast repository.")
    data: str = Field(
        "var/features",
        description="Folder of its registry, online database and history, relative to where the command runs.",
    )
    max_age_s: float = Field(
        5.0,
        gt=0,
        le=86_400,
        description="Seconds after which a feature group counts as missing (stale), but for the three below.",
    )
    derivatives_max_age_s: float = Field(
        600, gt=0, le=604_800, description="The same for funding, open interest, liquidations and the basis."
    )
    onchain_max_age_s: float = Field(
        259_200, gt=0, le=31_536_000, description="The same for on-chain facts, of which many are published once a day."
    )
    events_max_age_s: float = Field(
        86_400, gt=0, le=31_536_000, description="The same for news and calendars: how long their feed may be silent."
    )
    redis_timeout_ms: float = Field(
        500, ge=1, le=60_000, description="Wait for a Redis that holds the features before the safe action is taken."
    )


class ModelConfig(Section):
    """Sizes of the learned parts; a bundle remembers the ones it was trained with."""

    state_dim: Literal[200] = Field(200, description="Width of the state vector; fixed by the feature schema.")
    hidden_dim: int = Field(256, ge=16, le=2048, multiple_of=8, description="Width of the world model and the heads.")
    latent_dim: int = Field(
        128, ge=8, le=1024, multiple_of=8, description="Width of the stochastic latent: latent_dim/8 categoricals of 8."
    )
    action_dim: Literal[4] = Field(4, description="Direction, size, leverage, timing; fixed by the action's meaning.")
    layers: int = Field(2, ge=1, le=24, description="Transformer blocks of the world model.")
    heads: int = Field(4, ge=1, le=32, description="Attention heads; must divide hidden_dim.")
    context: int = Field(16, ge=2, le=512, description="Time steps that the world model sees before it decides.")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_dim % self.heads:
            raise PydanticCustomError(
                "heads",
                "{heads} heads do not divide hidden_dim {width}; change one of them",
                {"heads": self.heads, "width": self.hidden_dim},
            )
        return self


class TrainingConfig(Section):
    """How the bundle is trained."""

    batch_size: int = Field(64, ge=1, le=65_536, description="Sequences a step, over all processes.")
    learning_rate: float = Field(0.0003, gt=0, le=1, description="Peak learning rate of AdamW, after warm-up.")
    encoder_epochs: int = Field(10, ge=0, le=100_000, description="Passes over the training data for the encoders.")
    world_model_epochs: int = Field(50, ge=0, le=100_000, description="Passes for the world model.")
    policy_epochs: int = Field(100, ge=0, le=100_000, description="PPO iterations in imagination.")
    sequence: int = Field(32, ge=4, le=1024, description="Time steps of one training sequence.")
    cost_bps: float = Field(
        5.0,
        ge=0,
        le=100,
        description="Cost of trading one unit of exposure at once that the policy learns with, basis points.",
    )
    horizon: int = Field(15, ge=1, le=256, description="Imagined steps of a policy rollout.")
    seed: int = Field(7, ge=0, lt=2**31, description="Seed of every random draw.")
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads of one training process, 0 for all cores; small models train faster on 1.",
    )
    max_seconds: float = Field(
        0.0,
        ge=0,
        description="Wall-clock limit of each stage in seconds, 0 for none; a limited run is not reproducible.",
    )
    checkpoints: str = Field("checkpoints", description="Folder that receives bundles and the link best_model.pt.")


class RiskConfig(Section):
    """The judge's limits. Each may only shrink what was proposed; none can be switched off by a flag."""

    max_position_pct: float = Field(
        0.1, gt=0, le=20, description="Risk budget: the largest notional of one instrument as a share of equity."
    )
    max_leverage: float = Field(5, ge=1, le=20, description="Largest total notional over equity.")
    stop_loss_pct: float = Field(
        0.02, gt=0, le=0.5, description="Loss of a position, as a share of its entry price, that closes it."
    )
    max_drawdown_pct: float = Field(
        0.1, gt=0, le=0.9, description="Fall from peak equity that engages the kill switch."
    )
    max_daily_loss_pct: float = Field(
        0.05, gt=0, le=0.9, description="Loss since 00:00 UTC after which only reducing orders pass."
    )
    max_orders_per_minute: int = Field(60, ge=1, le=6000, description="Orders a minute, reducing ones not counted.")
    price_collar_bps: float = Field(
        100, gt=0, le=5000, description="Largest distance of an order's price from mid, in basis points (fat finger)."
    )
    depth_share: float = Field(
        0.1, gt=0, le=1, description="Largest share of the visible quantity at the touch that one order may take."
    )
    max_data_age_s: float = Field(
        2.0, gt=0, le=3600, description="Age of the newest quote in seconds past which the instrument is reduce-only."
    )
    max_tail_loss_pct: float = Field(
        0.02, gt=0, le=0.5, description="Largest one-step 99 % expected shortfall of the position as a share of equity."
    )
    max_volatility_pct: float = Field(
        0.02,
        gt=0,
        le=0.5,
        description="Largest standard deviation of the position's value over a day as a share of equity.",
    )
    volume_share: float = Field(
        0.2, gt=0, le=1, description="Largest share of the last minute's traded notional that one decision may add."
    )
    max_portfolio_loss_pct: float = Field(
        0.05,
        gt=0,
        le=0.9,
        description="Largest one-step 99 % expected shortfall of all positions together as a share of equity.",
    )
    max_correlated_pct: float = Field(
        0.5,
        gt=0,
        le=20,
        description="Largest notional of an instrument and of what moves with it, over equity (concentration).",
    )
    max_funding_bps: float = Field(
        10, ge=0, le=1000, description="Funding to be paid within funding_horizon_s past which the side is reduce-only."
    )
    funding_horizon_s: float = Field(
        3600, ge=0, le=604_800, description="Seconds ahead in which a funding payment counts against a new position."
    )
    event_leverage_share: float = Field(
        0.5, ge=0, le=1, description="Share of max_leverage and max_position_pct left while a severe event is in force."
    )
    event_severity: float = Field(
        0.5, ge=0, le=1, description="Severity of a classified event from which event_leverage_share holds."
    )
    stress_leverage_share: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Share of both left as the state nears the border of what training saw; linear from half way.",
    )
    cooldown_s: float = Field(
        60, ge=0, le=86_400, description="Seconds after a stop loss in which its instrument is reduce-only."
    )


class ExecutionConfig(Section):
    """How decisions become orders."""

    mode: Literal["backtest", "shadow", "paper", "live"] = Field(
        "shadow",
        description="Where orders go: simulated on a tape, simulated on live data, a simulated account, the venue.",
    )
    order_type: Literal["limit", "market", "post_only"] = Field(
        "limit", description="Kind of the orders; limit prices follow the action's timing."
    )
    max_slippage_bps: float = Field(
        50, ge=0, le=1000, description="Furthest a limit price may cross the mid, in basis points."
    )
    decision_interval_ms: int = Field(1000, ge=10, le=86_400_000, description="Milliseconds between two decisions.")
    order_latency_ms: float = Field(
        20, ge=0, le=60_000, description="Simulated one-way delay of an order and of its answer, milliseconds."
    )
    initial_cash: float = Field(100_000, gt=0, description="Starting balance of simulated accounts, quote currency.")
    model_timeout_ms: float = Field(
        500, gt=0, le=60_000, description="Wait for an inference before the safe action is taken, milliseconds."
    )
    order_ttl_ms: int = Field(
        900,
        ge=1,
        le=86_400_000,
        description="Milliseconds after which an open order is cancelled; below the interval it blocks no decision.",
    )


class BacktestConfig(Section):
    """What the simulated exchange assumes where a tape cannot say; every default errs on the costly side."""

    feed_latency_ms: float = Field(
        0, ge=0, le=60_000, description="Delay of market data on top of the tape's own known_at, milliseconds."
    )
    latency_file: str = Field(
        "",
        description="CSV of recorded orders (send_ns,exchange_ns,ack_ns) that replaces execution.order_latency_ms.",
    )
    queue: Literal["fifo", "power", "log", "touch"] = Field(
        "fifo", description="Where in a level a cancelled quantity stood; touch fills without any queue."
    )
    queue_power: float = Field(2, gt=0, le=10, description="Exponent of the power queue model.")
    amend_keeps_queue: bool = Field(
        False, description="Whether a replacement at the same price and no larger keeps its place in the queue."
    )
    impact_bps: float = Field(
        50,
        ge=0,
        le=10_000,
        description="Price move past the last visible level for as much again as is visible, growing with the square "
        "root of the excess; 0 cancels what the book cannot fill.",
    )
    impact_half_life_s: float = Field(
        60, gt=0, le=86_400, description="Seconds in which half of what was taken past the visible book is forgotten."
    )
    price_band_pct: float = Field(
        0.05, gt=0, le=1, description="Furthest a limit price or a market fill may be from the mark, as a share."
    )
    orders_per_10s: int = Field(300, ge=1, le=100_000, description="Orders that a venue takes in ten seconds.")
    margin_mode: Literal["cross", "isolated"] = Field(
        "cross", description="Whether all money of a venue stands behind each position, or its own margin only."
    )
    leverage: float = Field(
        20, ge=1, le=1000, description="Notional over initial margin, at most what the instrument's bracket allows."
    )
    liquidation_fee_pct: float = Field(
        0.0125, ge=0, le=0.1, description="Fee of a liquidation as a share of the notional closed."
    )
    mark_interval_ms: int = Field(
        1000, ge=10, le=3_600_000, description="How often margin is looked at where the mark has no tape, milliseconds."
    )
    funding_bps: float = Field(
        1,
        ge=0,
        le=100,
        description="Paid by either side of a perpetual every 8 hours where funding has no tape, basis points.",
    )
    spot_short: bool = Field(False, description="Whether spot may be sold short with borrowed coins.")
    borrow_apr: float = Field(0.2, ge=0, le=10, description="Yearly interest on borrowed coins, charged by the hour.")
    candle_spread_bps: float = Field(
        5, ge=0, le=1000, description="Half the spread around every price of a candle, basis points."
    )
    candle_volume_share: float = Field(
        0.05, gt=0, le=1, description="Share of a candle's volume that can be taken at each of its four prices."
    )


class ServingConfig(Section):
    """The inference server."""

    host: str = Field("127.0.0.1", description="Address it binds to.")
    port: int = Field(8080, ge=1, le=65_535, description="Port of POST /infer, GET /health, GET /metrics.")
    workers: int = Field(1, ge=1, le=64, description="Processes; one a core is best.")
    max_body_bytes: int = Field(1_000_000, ge=1_000, le=100_000_000, description="Largest request body.")
    max_batch: int = Field(256, ge=1, le=65_536, description="Most states in one request.")


class DashboardConfig(Section):
    """The web page."""

    host: str = Field("127.0.0.1", description="Address it binds to.")
    port: int = Field(8081, ge=1, le=65_535, description="Port of the page.")


class Config(Section):
    """The whole tree."""

    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    risk: RiskConfig = RiskConfig()
    execution: ExecutionConfig = ExecutionConfig()
    backtest: BacktestConfig = BacktestConfig()
    serving: ServingConfig = ServingConfig()
    dashboard: DashboardConfig = DashboardConfig()


def build(raw: Mapping[str, Any], *, source: str = "configuration") -> Config:
    """Validates plain data; ConfigError lists every mistake in one line each, with the nearest right key."""
    try:
        return Config.model_validate(dict(raw) if isinstance(raw, Mapping) else raw)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {_explain(item)}" for item in error.errors())) from None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, nested mappings joined key by key; neither is changed."""
    joined = dict(base)
    for key, value in over.items():
        below = joined.get(key)
        joined[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return joined


def nest(pairs: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """{'risk.max_leverage': 3} -> {'risk': {'max_leverage': 3}}."""
    tree: dict[str, Any] = {}
    for path, value in pairs.items():
        branch = value
        for key in reversed(path.split(separator)):
            branch = {key: branch}
        tree = merge(tree, branch)
    return tree


def keys() -> Iterator[str]:
    """Every dotted key of the tree."""
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            yield from (f"{name}.{key}" for key in section.model_fields)


def _explain(item: ErrorDetails) -> str:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "model_type":
        return f"{path or 'the whole'} = {item['input']!r}: this is a section; write its keys as a mapping below it"
    if item["type"] == "heads":
        return f"{path}.heads: {item['msg']}"
    if item["type"] != "extra_forbidden":
        return f"{path} = {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}"
    known = [*keys(), *Config.model_fields]
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.0)
    return f"{path} is not a key; did you mean {near[0]}?"
