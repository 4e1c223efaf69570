from __future__ import annotations

from pathlib import Path

import pytest

from cryptoai.core.errors import DataError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema, schema_docs
from cryptoai.data_universe.feature_kernel_emit import COMPUTED
from cryptoai.data_universe.feature_kernel_facts_emit import FROM_FACTS

ROOT = Path(__file__).parents[3]


def test_the_vector_has_200_features_in_eight_groups_of_the_agreed_sizes() -> None:
    """64 flow, 32 liquidity, 32 derivatives, 24 onchain, 16 events, 16 asset, 8 regime, 8 portfolio."""
    sizes = {group: len(schema.FEATURES[schema.group_slice(group)]) for group in schema.GROUPS}

    assert sizes == {
        "flow": 64, "liquidity": 32, "derivatives": 32, "onchain": 24, "events": 16,
        "asset": 16, "regime": 8, "portfolio": 8,
    }  # fmt: skip
    assert schema.WIDTH == len(set(schema.NAMES)) == 200


def test_every_feature_stands_in_its_group_and_is_declared_in_full() -> None:
    """No empty field, a known feed, and a place inside the columns of its group."""
    for place, feature in enumerate(schema.FEATURES):
        columns = schema.group_slice(feature.group)

        assert columns.start <= place < columns.stop
        assert all(getattr(feature, field) for field in feature.__slots__), feature
        assert feature.source in schema.SOURCES


def test_the_kernel_computes_every_feature_but_the_portfolio() -> None:
    """No declared feature without code, no code without a declaration; `state.portfolio` makes the last eight."""
    declared = {feature.name for feature in schema.FEATURES if feature.group != "portfolio"}
    made = (*COMPUTED, *FROM_FACTS)

    assert len(made) == len(set(made)) == 192
    assert set(made) == declared
    assert {feature.source for feature in schema.FEATURES} == set(schema.SOURCES)


def test_the_hash_is_pinned_so_that_a_change_of_meaning_is_a_decision() -> None:
    """Bundles refuse a state of another hash: whoever changes this line retrains."""
    assert schema.SCHEMA_HASH == "90bc6317cf3c0ab2e66ee839485c0766"


def test_an_unknown_feature_or_group_is_named_in_the_error() -> None:
    """A typo must not become a silent column."""
    with pytest.raises(DataError, match="ofi_2s"):
        schema.index("ofi_2s")
    with pytest.raises(DataError, match="flows"):
        schema.group_slice("flows")


def test_the_documentation_is_what_the_schema_says() -> None:
    """docs/features.md is generated; edit the schema and run `python -m cryptoai.data_universe.schema_docs`."""
    assert (ROOT / "docs/features.md").read_text() == schema_docs.render()


def test_the_state_vector_carries_the_width_of_the_schema() -> None:
    """The wire format has one float32 and one mask byte a feature."""
    state = StateVector.of("fake:BTC", (0, 0), schema.SCHEMA_HASH, [1.0] * schema.WIDTH, [True] * schema.WIDTH)

    assert (len(state.values), len(state.mask)) == (800, 200)
