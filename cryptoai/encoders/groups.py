"""Where each group of the state vector lies, as the encoders need it.

Derived from `data_universe.schema`, the only place where a feature is defined; nothing here may be written by hand.
"""

from __future__ import annotations

from cryptoai.data_universe.schema import GROUPS, WIDTH, group_slice

__all__ = ["STATE_DIM", "market_slices"]

STATE_DIM = WIDTH

OWN_STATE = "portfolio"
"""The group that describes us, not the market: the market model never looks at it."""


def market_slices() -> dict[str, slice]:
    """Group name to its slice of the columns, for every group but our own state."""
    return {name: group_slice(name) for name in GROUPS if name != OWN_STATE}
