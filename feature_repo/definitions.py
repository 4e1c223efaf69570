"""The Feast objects of CryptoAI: one feature view for each stored group of the schema, nothing declared twice.

`feast apply` in this folder registers them with data below `data/`; `cryptoai features apply` writes such a folder,
with paths of its own, beside the data that it manages, so that plain `feast` commands work there too.

The portfolio group is not stored: it belongs to one bot at one moment. The request carries its numbers (in order of the
schema, named `held_...`, NaN for missing) and the on-demand view `portfolio` hands them on.

Each view carries two more fields, `<group>_known_at_ns` and `<group>_event_time_ns`, because Feast's own event
timestamp is cut to microseconds offline and to whole seconds in SQLite. A null value means missing, whatever status
Feast reports.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import FunctionType
from typing import Any, cast

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource, ValueType
from feast.data_format import ParquetFormat
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.python_transformation import PythonTransformation
from feast.types import Float32, Float64, Int64

from cryptoai.core.config import FeaturesConfig
from cryptoai.data_universe import schema
from cryptoai.data_universe.packed import limits

__all__ = ["MARKET_SERVICE", "SERVICE", "objects"]

SERVICE = "trading_state_v1"
"""What a decision sees: the 200 features in schema order; asks the request for the portfolio."""
MARKET_SERVICE = "market_state_v1"
"""What training joins and the store reads: the stored features, each group followed by its two times."""

asset = Entity(
    name="asset",
    join_keys=["instrument"],
    value_type=ValueType.STRING,
    description="A tradable instrument, venue:SYMBOL.",
)


def objects(data_dir: Path, max_age_ns: Mapping[str, int] | None = None, engine: str = "duckdb") -> list[Any]:
    """Everything to apply, with the offline files in `data_dir`/offline/<group>/.

    `max_age_ns` is the largest age of each group's rows; the defaults of the configuration if None. `engine` is the
    type of the offline store: spark reads the same files by a source of its own.
    """
    allowed = max_age_ns or limits(FeaturesConfig())
    views: list[Any] = [
        _view(group, _source(group, data_dir.resolve(), engine), allowed[group]) for group in schema.STORED_GROUPS
    ]
    held, portfolio = _portfolio()
    stored = [view[list(schema.NAMES[schema.group_slice(view.name)])] for view in views]
    tags = {"schema_hash": schema.SCHEMA_HASH}
    whole = FeatureService(
        name=SERVICE, features=[*stored, portfolio], description="The state vector, in schema order.", tags=tags
    )
    market = FeatureService(
        name=MARKET_SERVICE, features=views, description="The stored groups with their times.", tags=tags
    )
    return [asset, *views, held, portfolio, whole, market]


def _source(group: str, data_dir: Path, engine: str) -> Any:
    times: dict[str, Any] = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"}
    name, path = f"{group}_files", str(data_dir / "offline" / group)
    if engine != "spark":
        return FileSource(name=name, path=path, file_format=ParquetFormat(), **times)
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    return SparkSource(name=name, path=path, file_format="parquet", **times)


def _view(group: str, stored: Any, max_age_ns: int) -> FeatureView:
    fields = [
        Field(name=f.name, dtype=Float32, description=f"{f.formula} [{f.unit}]")
        for f in schema.FEATURES[schema.group_slice(group)]
    ]
    times = [Field(name=f"{group}_{name}", dtype=Int64) for name in ("known_at_ns", "event_time_ns")]
    return FeatureView(
        name=group,
        entities=[asset],
        ttl=timedelta(microseconds=max_age_ns // 1000),
        schema=[*fields, *times],
        source=PushSource(name=f"{group}_push", batch_source=stored),
        tags={"schema_hash": schema.SCHEMA_HASH},
    )


def _portfolio() -> tuple[RequestSource, OnDemandFeatureView]:
    """The group that only the request knows; a NaN becomes a null."""
    names, hand_on = schema.NAMES[schema.group_slice("portfolio")], cast(FunctionType, _hand_on)
    held = RequestSource(name="held", schema=[Field(name=f"held_{name}", dtype=Float64) for name in names])
    view = OnDemandFeatureView(
        name="portfolio",
        sources=[held],
        schema=[Field(name=name, dtype=Float64) for name in names],
        feature_transformation=PythonTransformation(hand_on, udf_string=inspect.getsource(hand_on)),
        mode="python",
        tags={"schema_hash": schema.SCHEMA_HASH},
    )
    return held, view


def _hand_on(request: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    """Columns of the request as features; Feast keeps this text in the registry, so it stands alone."""
    return {
        name.removeprefix("held_"): [None if value is None or value != value else value for value in column]  # noqa: PLR0124
        for name, column in request.items()
        if name.startswith("held_")
    }


_all = objects(Path(__file__).parent / "data")
flow, liquidity, derivatives, onchain, events, asset_features, regime, held, portfolio = _all[1:-2]
trading_state_v1, market_state_v1 = _all[-2:]
