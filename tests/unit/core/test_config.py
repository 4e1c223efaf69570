"""Configuration: promised defaults, bounds, and mistakes told in one line each."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cryptoai.core.config import Config, build, keys, merge, nest
from cryptoai.core.errors import ConfigError

DEFAULTS = {
    "data": {"lake": "var/lake", "sample_ms": 100, "train_share": 0.6, "embargo_s": 2.0},
    "features": {
        "repo": "feature_repo",
        "data": "var/features",
        "max_age_s": 5.0,
        "derivatives_max_age_s": 600.0,
        "onchain_max_age_s": 259_200.0,
        "events_max_age_s": 86_400.0,
        "redis_timeout_ms": 500.0,
    },
    "model": {
        "state_dim": 200,
        "hidden_dim": 256,
        "latent_dim": 128,
        "action_dim": 4,
        "layers": 2,
        "heads": 4,
        "context": 16,
    },
    "training": {
        "batch_size": 64,
        "learning_rate": 0.0003,
        "encoder_epochs": 10,
        "world_model_epochs": 50,
        "policy_epochs": 100,
        "sequence": 32,
        "horizon": 15,
        "cost_bps": 5.0,
        "threads": 0,
        "seed": 7,
        "max_seconds": 0.0,
        "checkpoints": "checkpoints",
    },
    "risk": {
        "max_position_pct": 0.1,
        "max_leverage": 5.0,
        "stop_loss_pct": 0.02,
        "max_drawdown_pct": 0.1,
        "max_daily_loss_pct": 0.05,
        "max_orders_per_minute": 60,
        "price_collar_bps": 100.0,
        "depth_share": 0.1,
        "max_data_age_s": 2.0,
        "max_tail_loss_pct": 0.02,
        "max_volatility_pct": 0.02,
        "volume_share": 0.2,
        "max_portfolio_loss_pct": 0.05,
        "max_correlated_pct": 0.5,
        "max_funding_bps": 10.0,
        "funding_horizon_s": 3600.0,
        "event_leverage_share": 0.5,
        "event_severity": 0.5,
        "stress_leverage_share": 0.3,
        "cooldown_s": 60.0,
    },
    "execution": {
        "mode": "shadow",
        "order_type": "limit",
        "max_slippage_bps": 50.0,
        "decision_interval_ms": 1000,
        "order_latency_ms": 20.0,
        "initial_cash": 100_000.0,
        "model_timeout_ms": 500.0,
        "order_ttl_ms": 900,
    },
    "backtest": {
        "feed_latency_ms": 0.0,
        "latency_file": "",
        "queue": "fifo",
        "queue_power": 2.0,
        "amend_keeps_queue": False,
        "impact_bps": 50.0,
        "impact_half_life_s": 60.0,
        "price_band_pct": 0.05,
        "orders_per_10s": 300,
        "margin_mode": "cross",
        "leverage": 20.0,
        "liquidation_fee_pct": 0.0125,
        "mark_interval_ms": 1000,
        "funding_bps": 1.0,
        "spot_short": False,
        "borrow_apr": 0.2,
        "candle_spread_bps": 5.0,
        "candle_volume_share": 0.05,
    },
    "serving": {"host": "127.0.0.1", "port": 8080, "workers": 1, "max_body_bytes": 1_000_000, "max_batch": 256},
    "dashboard": {"host": "127.0.0.1", "port": 8081},
}


def test_defaults_are_the_promised_ones() -> None:
    """A default changes only together with this table."""
    assert Config().model_dump() == DEFAULTS
    assert build({}) == Config()


def test_every_key_is_documented() -> None:
    """Each key has a description that is a sentence."""
    for name, section in Config.model_fields.items():
        for key, field in section.annotation.model_fields.items():  # type: ignore[union-attr]
            assert (field.description or "").endswith("."), f"{name}.{key} has no sentence"
    assert set(keys()) == {f"{name}.{key}" for name, section in DEFAULTS.items() for key in section}


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("risk.max_leverag", "risk.max_leverage"),
        ("max_leverage", "risk.max_leverage"),
        ("model.learning_rate", "training.learning_rate"),
        ("training.batchsize", "training.batch_size"),
        ("execution.modus", "execution.mode"),
        ("rsk", "risk"),
    ],
)
def test_an_unknown_key_names_the_nearest(path: str, nearest: str) -> None:
    """The line has the wrong key and the one that was probably meant."""
    with pytest.raises(ConfigError, match=f"^file.yaml: {path} is not a key; did you mean {nearest}\\?$"):
        build(nest({path: 1}), source="file.yaml")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("risk.max_leverage", 21, "risk.max_leverage = 21: input should be less than or equal to 20"),
        ("risk.max_leverage", True, "risk.max_leverage = True: this key takes a number or text, not true or false"),
        ("risk.max_leverage", "five", "risk.max_leverage = 'five': input should be a valid number"),
        ("risk.max_leverage", float("nan"), "risk.max_leverage = nan: input should be"),
        ("risk.max_position_pct", 0, "risk.max_position_pct = 0: input should be greater than 0"),
        ("training.batch_size", 1.5, "training.batch_size = 1.5: input should be a valid integer"),
        ("training.batch_size", [64], "training.batch_size = [64]: input should be a valid integer"),
        ("training.max_seconds", float("inf"), "training.max_seconds = inf: input should be a finite number"),
        ("execution.mode", "Live", "execution.mode = 'Live': input should be 'backtest', 'shadow', 'paper' or 'live'"),
        ("execution.mode", None, "execution.mode = None: input should be"),
        ("model.state_dim", 100, "model.state_dim = 100: input should be 200"),
        ("model.hidden_dim", 20, "model.hidden_dim = 20: input should be a multiple of 8"),
        ("model.heads", 3, "model.heads: 3 heads do not divide hidden_dim 256; change one of them"),
        ("risk", 5, "risk = 5: this is a section; write its keys as a mapping below it"),
        ("data.lake", 5, "data.lake = 5: input should be a valid string"),
    ],
)
def test_a_wrong_value_is_one_line(path: str, value: object, said: str) -> None:
    """Type, bound and choice errors name key, value and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        build(nest({path: value}))
    assert str(caught.value).startswith(f"configuration: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [[], None, "text", 3, True, {1: 2}])
def test_what_is_no_tree_is_a_config_error(raw: object) -> None:
    """A YAML file that holds a list or a word ends in the same kind of sentence."""
    with pytest.raises(ConfigError, match=r"^configuration: "):
        build(raw)  # type: ignore[arg-type]


def test_all_mistakes_are_listed() -> None:
    """Three mistakes, three lines."""
    with pytest.raises(ConfigError) as caught:
        build({"risk": {"max_leverage": 0, "typo": 1}, "training": {"seed": "x"}})
    assert len(str(caught.value).splitlines()) == 3


def test_text_from_the_environment_is_read_as_numbers() -> None:
    """Variables are text; YAML 1.1 reads 3e-4 as text too."""
    config = build({"risk": {"max_leverage": "3"}, "training": {"learning_rate": "3e-4", "seed": "11"}})
    assert (config.risk.max_leverage, config.training.learning_rate, config.training.seed) == (3.0, 0.0003, 11)


def test_the_tree_is_frozen() -> None:
    """Nobody changes a limit after start."""
    config = Config()
    with pytest.raises(ValidationError):
        config.risk.max_leverage = 20  # type: ignore[misc]
    with pytest.raises(ValidationError):
        config.risk = config.risk  # type: ignore[misc]


def test_merge_lays_one_tree_on_another() -> None:
    """Nested keys join, scalars replace, and neither argument changes."""
    base, over = {"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 9}, "c": {"z": 1}}
    assert merge(base, over) == {"a": {"x": 1, "y": 9}, "b": 3, "c": {"z": 1}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}
    assert over == {"a": {"y": 9}, "c": {"z": 1}}
    assert merge({"a": 1}, {"a": {"x": 2}}) == {"a": {"x": 2}}


def test_nest_makes_a_tree_of_dotted_keys() -> None:
    """`--set` and environment variables become the same plain data as YAML."""
    assert nest({"risk.max_leverage": 3, "risk.depth_share": 0.2, "x": 1}) == {
        "risk": {"max_leverage": 3, "depth_share": 0.2},
        "x": 1,
    }
    assert nest({"risk__max_leverage": 3}, separator="__") == {"risk": {"max_leverage": 3}}
