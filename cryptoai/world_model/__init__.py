"""Learned market dynamics: a transformer over stochastic latents, its forecasts and its imagination."""

from cryptoai.world_model.distributions import ReturnMixture
from cryptoai.world_model.model import Batch, Latent, WorldModel, load
from cryptoai.world_model.returns import HORIZONS

__all__ = ["HORIZONS", "Batch", "Latent", "ReturnMixture", "WorldModel", "load"]
