"""Configuration under any input: a valid frozen tree or a ConfigError, never anything else."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cryptoai.core.config import Config, build, keys, merge, nest
from cryptoai.core.errors import ConfigError

VALUE = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.lists(st.integers(), max_size=2)
)
KEY = st.sampled_from([*keys(), "risk", "rsik.max_leverage", "a.b.c", ""])
PLAIN = st.recursive(st.integers(), lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=8)
TREE = st.dictionaries(st.text(max_size=4), PLAIN, max_size=4)


@given(st.dictionaries(KEY, VALUE, max_size=6))
def test_any_input_is_a_config_or_a_config_error(pairs: dict[str, Any]) -> None:
    """A tree that is accepted is complete and reads back equal from its own dump."""
    with contextlib.suppress(ConfigError):
        config = build(nest(pairs))
        assert Config.model_validate(config.model_dump()) == config
        assert 1 <= config.risk.max_leverage <= 20
        assert config.model.hidden_dim % config.model.heads == 0


@given(TREE, TREE, TREE)
def test_merge_is_layered(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any]) -> None:
    """The empty tree changes nothing, a tree over itself is itself, and the last layer always shows."""
    assert merge(a, {}) == a == merge({}, a) == merge(a, a)
    assert merge(merge(a, b), b) == merge(a, b)
    assert merge(merge(a, b), c).keys() == {*a, *b, *c}
