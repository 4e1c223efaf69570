"""The Feast objects of CryptoAI: one feature view for each stored group of the schema, nothing declared twice.

`feast apply` in this folder registers them with data below `data/`; `cryptoai` calls `objects` with its own folder.
The portfolio group is not stored: it belongs to one bot at one moment and is merged when a decision is asked for.

Each view carries two more fields, `known_at_ns` and `event_time_ns`, because Feast's own event timestamp is cut to
microseconds offline and to whole seconds in SQLite. A null value means missing, whatever status Feast reports.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Float32, Int64

from cryptoai.core.config import FeaturesConfig
from cryptoai.data_universe import schema

__all__ = ["SERVICE", "TIME_FIELDS", "objects"]

SERVICE = "trading_state_v1"
TIME_FIELDS = ("known_at_ns", "event_time_ns")

asset = Entity(
    name="asset",
    join_keys=["instrument"],
    value_type=ValueType.STRING,
    description="A tradable instrument, venue:SYMBOL.",
)


def objects(data_dir: Path) -> list[Entity | FeatureView | FeatureService]:
    """Everything to apply, with the offline files in `data_dir`/offline/<group>.parquet."""
    views = [_view(group, data_dir.resolve()) for group in schema.STORED_GROUPS]
    service = FeatureService(
        name=SERVICE,
        features=[view[list(schema.NAMES[schema.group_slice(view.name)])] for view in views],
        description="The stored part of the state vector, in schema order.",
        tags={"schema_hash": schema.SCHEMA_HASH},
    )
    return [asset, *views, service]


def _view(group: str, data_dir: Path) -> FeatureView:
    stored = FileSource(
        name=f"{group}_file",
        path=str(data_dir / "offline" / f"{group}.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    fields = [
        Field(name=f.name, dtype=Float32, description=f"{f.formula} [{f.unit}]")
        for f in schema.FEATURES[schema.group_slice(group)]
    ]
    return FeatureView(
        name=group,
        entities=[asset],
        ttl=timedelta(seconds=FeaturesConfig().max_age_s),
        schema=[*fields, *(Field(name=name, dtype=Int64) for name in TIME_FIELDS)],
        source=PushSource(name=f"{group}_push", batch_source=stored),
        tags={"schema_hash": schema.SCHEMA_HASH},
    )


_all = objects(Path(__file__).parent / "data")
flow, liquidity, derivatives, onchain, events, asset_features, regime = _all[1:-1]
trading_state_v1 = _all[-1]
