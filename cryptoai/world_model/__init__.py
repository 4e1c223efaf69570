"""Learned market dynamics: a transformer over stochastic latents, its forecasts and its imagination."""

from cryptoai.world_model.distributions import ReturnMixture
from cryptoai.world_model.model import HORIZONS, Batch, Latent, WorldModel, load

__all__ = ["HORIZONS", "Batch", "Latent", "ReturnMixture", "WorldModel", "load"]
