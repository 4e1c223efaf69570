"""The port of on-chain data: who can be asked for metrics of a chain, and what an answer promises.

Implemented by `files.FileSource` and by `adapters.http_onchain.HttpOnChain`; the contract tests of tests/contract hold
for every implementation. A source never fills a hole: what it does not have is not in the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from cryptoai.data_universe.facts import Facts

__all__ = ["OnChainSource"]


class OnChainSource(Protocol):
    """Where on-chain metrics come from."""

    @property
    def refused(self) -> Mapping[str, int]:
        """Values that the last `read` did not believe, counted by reason."""
        ...

    def read(self, asset: str, metrics: Sequence[str], start: int, stop: int) -> Facts:
        """Facts of kind `onchain` of one asset (`BTC`) with event time in [start, stop), sorted by known_at.

        `metrics` are names of `metrics.METRICS`; a name that the source does not have is absent from the answer. No row
        is known before the publication lag of its metric has passed, and none that is not public yet is given.
        Raises `TransientError` if another try may help, `DataError` for an answer that cannot be read.
        """
        ...
