"""Synthetic markets whose truth is known: what the learned parts must find, and what an oracle would make of it."""

from cryptoai.testing.market.switching import NOISE_SLOTS, SIGNAL_SLOT, SyntheticMarket, synthetic_dataset

__all__ = ["NOISE_SLOTS", "SIGNAL_SLOT", "SyntheticMarket", "synthetic_dataset"]
