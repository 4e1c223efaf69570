"""A causal transformer whose parallel pass and cached pass are one forward.

Used by `world_model.model` only. The cache is preallocated; the number of steps already in it drives both the rotary
positions and the mask, so training and imagination cannot drift apart (IRIS). It must never see a later step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cryptoai.core.config import ModelConfig
from cryptoai.core.errors import ConfigError, InvariantError
from cryptoai.encoders.norm import RMSNorm

__all__ = ["CausalTransformer", "KVCache", "rotary_angles", "rotated"]


@dataclass(frozen=True, slots=True)
class KVCache:
    """keys, values: (layers, B, heads, capacity, head width); valid: (B, capacity). Written in place by the forward."""

    keys: Tensor
    values: Tensor
    valid: Tensor

    @property
    def capacity(self) -> int:
        return self.valid.shape[1]

    def clone(self) -> KVCache:
        return KVCache(self.keys.clone(), self.values.clone(), self.valid.clone())

    def spread(self, count: int) -> KVCache:
        """Every row of the batch `count` times, one after another."""
        return KVCache(
            self.keys.repeat_interleave(count, 1),
            self.values.repeat_interleave(count, 1),
            self.valid.repeat_interleave(count, 0),
        )

    def put(self, layer: int, at: slice, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Stores (B, heads, t, width) at steps `at`; returns all keys and values up to there."""
        self.keys[layer, :, :, at], self.values[layer, :, :, at] = keys, values
        return self.keys[layer, :, :, : at.stop], self.values[layer, :, :, : at.stop]


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions (RoFormer): only distances in time matter."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, rotary: Tensor, mask: Tensor, cache: KVCache | None, at: tuple[int, slice]) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotated(q, rotary), rotated(k, rotary)
        if cache is not None:
            k, v = cache.put(at[0], at[1], k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return out


class Block(nn.Module):
    """Pre-norm attention and SiLU feed-forward, both residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(width), Attention(width, heads)
        self.feed_norm = RMSNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, rotary: Tensor, mask: Tensor, cache: KVCache | None, at: tuple[int, slice]) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rotary, mask, cache, at)
        out: Tensor = x + self.feed(self.feed_norm(x))
        return out


class CausalTransformer(nn.Module):
    """(B, T, hidden) -> (B, T, hidden); step t sees valid steps <= t."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, heads = config.hidden_dim, config.heads
        if width % (2 * heads):
            raise ConfigError(f"model.heads = {heads} must divide model.hidden_dim = {width} into parts of even width")
        self.heads, self.head_width = heads, width // heads
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(config.layers)])
        self.norm = RMSNorm(width)

    def cache(self, batch: int, capacity: int, like: Tensor) -> KVCache:
        """An empty cache on the device and dtype of `like`."""
        shape = (len(self.blocks), batch, self.heads, capacity, self.head_width)
        return KVCache(
            like.new_zeros(shape), like.new_zeros(shape), like.new_zeros(shape[1], capacity, dtype=torch.bool)
        )

    def forward(self, x: Tensor, valid: Tensor, cache: KVCache | None = None, past: int = 0) -> Tensor:
        """x (B, T, hidden), valid (B, T); with a cache, x are the steps after the first `past` ones."""
        steps = slice(past, past + x.shape[1])
        if cache is not None:
            if steps.stop > cache.capacity:
                raise InvariantError(
                    f"the cache has room for {cache.capacity} steps, not {steps.stop}; ask start for more"
                )
            cache.valid[:, steps] = valid
            valid = cache.valid[:, : steps.stop]
        mask = _mask(valid, x.shape[1])
        rotary = rotary_angles(steps, self.head_width, x)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotary, mask, cache, (layer, steps))
        out: Tensor = self.norm(x)
        return out


def _mask(valid: Tensor, queries: int) -> Tensor:
    """(B, 1, queries, keys): causal and valid; a step always sees itself, so that no row is empty."""
    keys = torch.arange(valid.shape[1], device=valid.device)
    own = keys[-queries:, None]
    return ((keys <= own) & valid[:, None, :] | (keys == own)).unsqueeze(1)


def rotary_angles(steps: slice, width: int, like: Tensor) -> Tensor:
    """(2, T, width), float32: cosines, and sines whose first half is negative, for `rotated`."""
    inverse = 10_000.0 ** (-torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width)
    angles = torch.arange(steps.start, steps.stop, device=like.device, dtype=torch.float32)[:, None] * inverse
    cos, sin = angles.cos(), angles.sin()
    return torch.stack([torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)])


def rotated(x: Tensor, rotary: Tensor) -> Tensor:
    """x (..., T, width) turned by its position: the halves of each head are the two coordinates."""
    cos, sin = rotary
    wide = x.float()
    return torch.addcmul(wide * cos, wide.roll(x.shape[-1] // 2, -1), sin).to(x.dtype)
