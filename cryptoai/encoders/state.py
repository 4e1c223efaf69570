"""The state encoder: 200 features and their mask to the logits of the world model's stochastic latent.

Used by `world_model` (the posterior) and pre-trained by `training`. It never sees the portfolio group: the market does
not react to us, so the latent of the market must not either.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cryptoai.core.config import ModelConfig
from cryptoai.encoders.asset import AssetEncoder
from cryptoai.encoders.derivatives import DerivativesEncoder
from cryptoai.encoders.events import EventsEncoder
from cryptoai.encoders.groups import STATE_DIM, market_slices
from cryptoai.encoders.liquidity import LiquidityEncoder
from cryptoai.encoders.norm import RMSNorm
from cryptoai.encoders.onchain import OnChainEncoder
from cryptoai.encoders.order_flow import OrderFlowEncoder
from cryptoai.encoders.regime import RegimeEncoder
from cryptoai.encoders.scaler import RobustScaler

__all__ = ["CLASSES", "StateEncoder"]

CLASSES = 8
"""Classes of each categorical of the latent."""

_WIDTHS = {"flow": 64, "liquidity": 32, "derivatives": 32, "onchain": 24, "events": 16, "asset": 16, "regime": 8}
_ENCODERS: dict[str, type[nn.Module]] = {
    "flow": OrderFlowEncoder,
    "liquidity": LiquidityEncoder,
    "derivatives": DerivativesEncoder,
    "onchain": OnChainEncoder,
    "events": EventsEncoder,
    "asset": AssetEncoder,
    "regime": RegimeEncoder,
}


class StateEncoder(nn.Module):
    """values, mask (B, T, 200) -> logits (B, T, latent_dim / 8, 8); causal, and masked values have no influence."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.slices = market_slices()
        self.widths = {name: _WIDTHS[name] for name in self.slices}
        self.scaler = RobustScaler(STATE_DIM)
        self.groups = nn.ModuleDict(
            {name: _ENCODERS[name](where.stop - where.start, _WIDTHS[name]) for name, where in self.slices.items()}
        )
        width = sum(self.widths.values())
        self.trunk = nn.Sequential(
            nn.Linear(width, config.hidden_dim), RMSNorm(config.hidden_dim), nn.SiLU(),
            nn.Linear(config.hidden_dim, config.hidden_dim), RMSNorm(config.hidden_dim), nn.SiLU(),
        )  # fmt: skip
        self.latent = nn.Linear(config.hidden_dim, config.latent_dim)

    def scale(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled values (B, T, 200) and the mask of what the market model may use."""
        market = torch.zeros_like(mask)
        for where in self.slices.values():
            market[..., where] = mask[..., where]
        scaled: tuple[Tensor, Tensor] = self.scaler(values, market)
        return scaled

    def embed(self, scaled: Tensor, present: Tensor) -> Tensor:
        """What `scale` returned -> (B, T, hidden)."""
        parts = [
            self.groups[name](scaled[..., where], present[..., where]) for name, where in self.slices.items()
        ]  # fmt: skip
        out: Tensor = self.trunk(torch.cat(parts, -1))
        return out

    def logits(self, embedding: Tensor) -> Tensor:
        """(B, T, hidden) -> (B, T, latent_dim / 8, 8), float32 whatever the autocast."""
        flat: Tensor = self.latent(embedding)
        return flat.float().reshape(*flat.shape[:-1], -1, CLASSES)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        return self.logits(self.embed(*self.scale(values, mask)))
