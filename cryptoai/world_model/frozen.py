"""The newest memory of one history, with the fewest operations: what a decision waits for.

`WorldModel.start` runs hundreds of small operations on matrices of sixteen rows; here the same arithmetic is regrouped
once, when a bundle is loaded. The group encoders are one block-diagonal product, gains and linear maps that follow each
other are multiplied out, and the last block computes the newest step alone. Inference uses it, training never does. It
must stay equal to `WorldModel.start` up to rounding, keep nothing between two calls, and see only frozen weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cryptoai.encoders.feature_mlp import FeatureMLP
from cryptoai.encoders.order_flow import MixerBlock, OrderFlowEncoder
from cryptoai.encoders.scaler import CLIP
from cryptoai.encoders.state import CLASSES, StateEncoder
from cryptoai.world_model.distributions import SCALE_FLOOR
from cryptoai.world_model.model import WorldModel
from cryptoai.world_model.transformer import Block, rotary_angles, rotated

__all__ = ["FrozenModel", "Newest"]

_EPS = torch.finfo(torch.float32).eps
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Newest:
    """Memory h (1, hidden) and market latent z (1, latent) at the newest step."""

    h: Tensor
    z: Tensor

    @property
    def feature(self) -> Tensor:
        """(1, hidden + latent): what policy and critic see."""
        return torch.cat([self.h, self.z], -1)


class FrozenModel:
    """A copy of `model` for histories of exactly `steps` steps, on the CPU in float32."""

    def __init__(self, model: WorldModel, steps: int) -> None:
        with torch.no_grad():
            self._state = _State(model.encoder)
            self._latent = _affine(model.encoder.latent)
            self._token = _Token(model)
            self._returns = _Returns(model)
            blocks = [_FrozenBlock(cast(Block, block), steps) for block in model.transformer.blocks]
        self._before, self._last = blocks[:-1], blocks[-1]
        self._gain = model.transformer.norm.weight
        self._causal = torch.ones(steps, steps, dtype=torch.bool).tril()
        self._own = torch.eye(steps, dtype=torch.bool)

    def newest(self, values: Tensor, mask: Tensor) -> Newest:
        """values, mask (steps, 200), finite, oldest first, empty steps with mask False -> where the market stands."""
        embedding = self._state(values, mask)
        z = self._mode(torch.addmm(self._latent[1], embedding, self._latent[0]))
        x = self._token(z, embedding)
        seen = torch.where(self._causal & mask.any(-1) | self._own, 0.0, float("-inf"))
        for block in self._before:
            x = block(x, seen)
        h = F.rms_norm(self._last.newest(x, seen), self._gain.shape, self._gain)
        return Newest(h, z[-1:])

    def forecast(self, newest: Newest) -> tuple[Floats, Floats, Floats]:
        """Weights, locations and scales (H, members * K) of `WorldModel.mixture` there, float64."""
        return self._returns(newest.h)

    @staticmethod
    def _mode(logits: Tensor) -> Tensor:
        parts = logits.view(len(logits), -1, CLASSES)
        return torch.zeros_like(parts).scatter_(-1, parts.argmax(-1, keepdim=True), 1.0).view(logits.shape)


class _Encoder(Protocol):
    def __call__(self, x: Tensor, shown: Tensor) -> Tensor: ...


class _State:
    """values, mask (T, 200) -> embedding (T, hidden)."""

    def __init__(self, encoder: StateEncoder) -> None:
        slices = encoder.slices
        self.width = max(where.stop for where in slices.values())
        scaler, known = encoder.scaler, torch.zeros(self.width, dtype=torch.bool)
        for where in slices.values():
            known[where] = encoder.scaler.known[where]
        self.center, self.scale, self.known = scaler.center[: self.width], scaler.scale[: self.width], known
        first = _linear(encoder.trunk, 0)
        places = _places(encoder.widths)
        self.bias = first.bias.clone()
        self.parts: list[tuple[slice, _Encoder, Tensor]] = []
        self.merged = _Merged(self.width)
        for name, where in slices.items():
            module, into = encoder.groups[name], first.weight[:, places[name]].T.contiguous()
            if isinstance(module, FeatureMLP) and type(module).forward is FeatureMLP.forward:
                self.bias += self.merged.add(where, module, into)
            else:
                self.parts.append((where, _frozen(module), into))
        self.merged.seal()
        self.gains = _gain(encoder.trunk, 1), _gain(encoder.trunk, 4)
        self.second = _affine(_linear(encoder.trunk, 3))

    def __call__(self, values: Tensor, mask: Tensor) -> Tensor:
        present = mask[:, : self.width] & self.known
        shown = present.float()
        x = ((values[:, : self.width] - self.center) / self.scale).clamp_(-CLIP, CLIP)
        x = torch.copysign(x.abs().log1p_(), x).mul_(shown)
        out = self.merged(self.bias, x, shown)
        for where, module, into in self.parts:
            out = torch.addmm(out, module(x[:, where], shown[:, where]), into)
        out = F.silu(F.rms_norm(out, self.gains[0].shape, self.gains[0]))
        out = torch.addmm(self.second[1], out, self.second[0])
        return F.silu(F.rms_norm(out, self.gains[1].shape, self.gains[1]))


class _Merged:
    """All two-layer group encoders at once, and the first layer of the trunk after them."""

    def __init__(self, width: int) -> None:
        self._rows: list[tuple[slice, FeatureMLP, Tensor]] = []
        self._width = width

    def add(self, where: slice, module: FeatureMLP, into: Tensor) -> Tensor:
        """Takes a group up; returns what its last bias adds to the trunk."""
        self._rows.append((where, module, into))
        return _linear(module.layers, 3).bias @ into

    def seal(self) -> None:
        inner = [_linear(module.layers, 0).out_features for _, module, _ in self._rows]
        self.values, self.shown = torch.zeros(self._width, sum(inner)), torch.zeros(self._width, sum(inner))
        self.mean, self.back = torch.zeros(sum(inner), len(inner)), torch.zeros(len(inner), sum(inner))
        biases: list[Tensor] = []
        outs: list[Tensor] = []
        first = 0
        for group, ((where, module, into), count) in enumerate(zip(self._rows, inner, strict=True)):
            layer, last = _linear(module.layers, 0), _linear(module.layers, 3)
            here, features = slice(first, first + count), where.stop - where.start
            self.values[where, here] = layer.weight[:, :features].T
            self.shown[where, here] = layer.weight[:, features:].T
            self.mean[here, group], self.back[group, here] = 1.0 / count, _gain(module.layers, 1)
            biases.append(layer.bias)
            outs.append(last.weight.T @ into)
            first += count
        self.bias, self.out = torch.cat(biases), torch.cat(outs)

    def __call__(self, bias: Tensor, x: Tensor, shown: Tensor) -> Tensor:
        inner = torch.addmm(torch.addmm(self.bias, x, self.values), shown, self.shown)
        scale = torch.rsqrt((inner * inner) @ self.mean + _EPS) @ self.back
        return torch.addmm(bias, F.silu(inner * scale), self.out)


class _Flow:
    """The order-flow encoder; shown is 0 or 1."""

    def __init__(self, flow: OrderFlowEncoder) -> None:
        conv = flow.stem.conv
        self.reach, self.bias = flow.stem.reach, cast(Tensor, conv.bias)
        self.weight = conv.weight.permute(2, 1, 0).flatten(0, 1).contiguous()
        self.blocks = [_Mixer(cast(MixerBlock, block)) for block in flow.blocks]

    def __call__(self, x: Tensor, shown: Tensor) -> Tensor:
        valid = shown.amax(-1, keepdim=True)
        steps = _windows(torch.cat([x, shown], -1), self.reach).flatten(1)
        out = valid * F.silu(torch.addmm(self.bias, steps, self.weight))
        for block in self.blocks:
            out = block(out, valid)
        return out


class _Mixer:
    def __init__(self, block: MixerBlock) -> None:
        time, channel = block.time, block.channel
        taps = (time.conv.weight[:, 0] * block.time_norm.weight[:, None]).T
        self.reach, self.time = time.reach, torch.diag_embed(taps).flatten(0, 1)  # one small product for all taps
        self.bias = cast(Tensor, time.conv.bias)
        self.first = _affine(_linear(channel, 0), block.channel_norm.weight)
        self.second = _affine(_linear(channel, 2))

    def __call__(self, x: Tensor, valid: Tensor) -> Tensor:
        steps = _windows(F.rms_norm(x, x.shape[-1:]), self.reach).flatten(1)
        past = torch.addmm(self.bias, steps, self.time)
        x = torch.addcmul(x, valid, past)
        inner = F.silu(torch.addmm(self.first[1], F.rms_norm(x, x.shape[-1:]), self.first[0]))
        return torch.addcmul(x, valid, torch.addmm(self.second[1], inner, self.second[0]))


class _Token:
    def __init__(self, model: WorldModel) -> None:
        first = _linear(model.token, 0)
        latent = first.in_features - model.hidden_dim
        self.latent, self.shown = first.weight.T[:latent].contiguous(), first.weight.T[latent:].contiguous()
        self.bias, self.gain, self.last = first.bias, _gain(model.token, 1), _affine(_linear(model.token, 3))

    def __call__(self, z: Tensor, shown: Tensor) -> Tensor:
        inner = torch.addmm(torch.addmm(self.bias, shown, self.shown), z, self.latent)
        inner = F.silu(F.rms_norm(inner, self.gain.shape, self.gain))
        return torch.addmm(self.last[1], inner, self.last[0])


class _Returns:
    """The ensemble of heads on one memory (1, hidden); trust and base are in its last layer."""

    def __init__(self, model: WorldModel) -> None:
        heads, (horizons, _, components) = model.returns, model.base.shape
        self.first, self.gain = _affine(heads.first), heads.norm.weight
        trust = model.trust.repeat_interleave(3 * components)
        self.weight, self.bias = heads.last.weight * trust, heads.last.bias * trust + model.base.flatten()
        self.shape = len(self.weight), horizons, 3, components

    def __call__(self, h: Tensor) -> tuple[Floats, Floats, Floats]:
        inner = torch.addmm(self.first[1], h, self.first[0]).view(self.shape[0], 1, -1)
        inner = F.silu(F.rms_norm(inner, self.gain.shape, self.gain))
        raw = torch.baddbmm(self.bias, inner, self.weight).view(self.shape).double().numpy()
        odds = np.exp(raw[:, :, 0] - raw[:, :, 0].max(-1, keepdims=True))
        weights = odds / (len(raw) * odds.sum(-1, keepdims=True))
        parts = weights, raw[:, :, 1], np.logaddexp(0.0, raw[:, :, 2]) + SCALE_FLOOR
        weights, loc, scale = (part.swapaxes(0, 1).reshape(self.shape[1], -1) for part in parts)
        return weights, loc, scale


class _FrozenBlock:
    """A transformer block on (T, hidden); queries may be all steps or the newest."""

    def __init__(self, block: Block, steps: int) -> None:
        width, self.heads = block.attention.out.in_features, block.attention.heads
        qkv = block.attention.qkv.weight.T * block.attention_norm.weight[:, None]
        self.query, self.memory = qkv[:, :width].contiguous(), qkv[:, width:].contiguous()
        self.out = block.attention.out.weight.T.contiguous()
        self.first = _affine(_linear(block.feed, 0), block.feed_norm.weight)
        self.second = _affine(_linear(block.feed, 2))
        self.rotary = rotary_angles(slice(0, steps), width // self.heads, self.out)

    def __call__(self, x: Tensor, seen: Tensor) -> Tensor:
        return self._block(x, x, seen, slice(None))

    def newest(self, x: Tensor, seen: Tensor) -> Tensor:
        """(1, hidden): the same for the newest step alone."""
        return self._block(x, x[-1:], seen[-1:], slice(-1, None))

    def _block(self, x: Tensor, asking: Tensor, seen: Tensor, at: slice) -> Tensor:
        normed = F.rms_norm(x, x.shape[-1:])
        keys, values = (normed @ self.memory).view(len(x), 2, self.heads, -1).unbind(1)
        queries = (normed[at] @ self.query).view(len(asking), self.heads, -1)
        q, k, v = (part.transpose(0, 1).unsqueeze(0) for part in (queries, keys, values))
        q, k = rotated(q, self.rotary[:, at]), rotated(k, self.rotary)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        out = torch.addmm(asking, mixed[0].transpose(0, 1).flatten(1), self.out)
        inner = F.silu(torch.addmm(self.first[1], F.rms_norm(out, out.shape[-1:]), self.first[0]))
        return out + torch.addmm(self.second[1], inner, self.second[0])


def _frozen(module: nn.Module) -> _Encoder:
    return _Flow(module) if isinstance(module, OrderFlowEncoder) else _Batched(module)


class _Batched:
    """Any other encoder, as it is."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, x: Tensor, shown: Tensor) -> Tensor:
        out: Tensor = self._module(x[None], shown[None] > 0)
        return out[0]


def _linear(layers: nn.Sequential, at: int) -> nn.Linear:
    return cast(nn.Linear, layers[at])


def _gain(layers: nn.Sequential, at: int) -> Tensor:
    return cast(nn.RMSNorm, layers[at]).weight


def _affine(layer: nn.Linear, gain: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Weight (inputs, outputs) and bias; `gain` of a norm before the layer goes into the weight."""
    weight = layer.weight.T if gain is None else layer.weight.T * gain[:, None]
    return weight.contiguous(), layer.bias


def _windows(x: Tensor, reach: int) -> Tensor:
    """(T, width) -> (T, reach + 1, width): each step with `reach` before it, zeros before the first."""
    padded = F.pad(x, (0, 0, reach, 0))
    return padded.as_strided((len(x), reach + 1, x.shape[1]), (x.shape[1], x.shape[1], 1))


def _places(widths: dict[str, int]) -> dict[str, slice]:
    """Where each group's output lies in the trunk's input."""
    found, first = {}, 0
    for name, width in widths.items():
        found[name] = slice(first, first + width)
        first += width
    return found
