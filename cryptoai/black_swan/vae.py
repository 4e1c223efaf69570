"""Is this state like the training ones, by a small variational autoencoder: the score is -ELBO under heavy tails.

A rival of `anomaly.Mahalanobis`, for states on a curved surface; `detector` fits both and ships the one that finds more
planted oddities. The score is never the divergence term alone: that one ranks oddities below normal states. It must
answer the same for the same state: the latent is its mean, nothing is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cryptoai.black_swan.anomaly import block_bound
from cryptoai.core.errors import BundleError, DataError

__all__ = ["Autoencoder", "Vae"]

LATENT = 32
HIDDEN = 64
DEGREES = 12.0
"""Of freedom of the decoder: a wild feature costs its logarithm, not its square (Takahashi et al. 2018)."""
STEPS = 300
BATCH = 128
RATE = 2e-3
DROPPED = 0.1
"""Share of the present features that are hidden from the encoder while it learns, so that missing ones do not shock."""
CLIP = 8.0

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Autoencoder(nn.Module):
    """States [n, D] to a normal latent [n, 32] and back to Student-t features (Kingma and Welling 2014).

    Encoder and decoder are each a linear map plus a small network whose last layer starts at 0: with the linear maps at
    the principal components (`_start`) learning begins at probabilistic PCA and can only bend it.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        latent = min(LATENT, dims)
        self.encode = nn.Linear(dims, latent)
        self.encode_more = _bend(2 * dims, 2 * latent)
        self.decode = nn.Linear(latent, dims)
        self.decode_more = _bend(latent, dims)
        self.log_variance = nn.Parameter(torch.zeros(latent))
        self.log_scale = nn.Parameter(torch.zeros(dims))

    def loss(self, z: Tensor, mask: Tensor, seen: Tensor, noise: Tensor | None = None) -> Tensor:
        """-ELBO in nats, [n], of standardised features z [n, D] that are present in `mask` and shown in `seen`.

        noise: standard normal [n, 32] for training; None takes the mean of the latent.
        """
        shown = z * seen
        more, wider = self.encode_more(torch.cat([shown, seen], dim=1)).chunk(2, dim=1)
        mean, log_variance = self.encode(shown) + more, (self.log_variance + wider).clamp(-8.0, 4.0)
        latent = mean if noise is None else mean + (0.5 * log_variance).exp() * noise
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)
        cost: Tensor = self._misfit(z, mask, latent) + divergence
        return cost

    def _misfit(self, z: Tensor, mask: Tensor, latent: Tensor) -> Tensor:
        """-log likelihood of the present features, [n]."""
        off = (z - self.decode(latent) - self.decode_more(latent)) * (-self.log_scale).exp()
        each = 0.5 * (DEGREES + 1.0) * torch.log1p(off.square() / DEGREES) + self.log_scale + _CONSTANT
        return (each * mask).sum(1)


def _bend(dims: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dims, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, out))


_CONSTANT = math.lgamma(DEGREES / 2) - math.lgamma((DEGREES + 1) / 2) + 0.5 * math.log(DEGREES * math.pi)


@dataclass(frozen=True, slots=True)
class Vae:
    """A fitted score; D features.

    centre, spread: float64 [D], median and deviation in training, spread 0 where a feature never varied; usual: float64
    [D], 1 where it is present in half of the rows or more; floor, limit: -ELBO that scores 0 and 1.
    """

    network: Autoencoder
    centre: Doubles
    spread: Doubles
    usual: Doubles
    floor: float
    limit: float

    @classmethod
    def fit(cls, values: Floats, mask: Bools, generator: torch.Generator) -> Self:
        """values [N, D] in time order, mask [N, D] True = present. The last fifth is not learned: it sets the limit.

        DataError below 250 rows. Every draw comes from `generator`, initial weights too.
        """
        if values.ndim != 2 or values.shape != mask.shape or len(values) < 250:
            raise DataError("the autoencoder needs 250 rows of values and a mask of the same shape")
        learned = len(values) * 4 // 5
        centre, spread = _moments(values[:learned], mask[:learned])
        usual = ((mask.mean(axis=0) >= 0.5) & (spread > 0)).astype(np.float64)
        raw = cls(_blank(values.shape[1]), centre, spread, usual, 0.0, 1.0)
        _learn(raw.network, *raw._tensors_of(values[:learned], mask[:learned]), generator)
        kept = raw.score(values[learned:], mask[learned:], raw=True)
        floor = float(np.quantile(raw.score(values[:learned], mask[:learned], raw=True), 0.001))
        return cls(raw.network, centre, spread, usual, floor, max(block_bound(kept), floor + 1e-6))

    def score(self, values: Floats, mask: Bools, *, raw: bool = False) -> Doubles:
        """Share of the way from typical to the limit, float64 [n] >= 0 for values, mask [n, D]; > 1 is strange.

        raw: -ELBO itself, in nats.
        """
        z, present = self._tensors_of(values, mask)
        with torch.inference_mode():
            cost = self.network.loss(z, present, present).double().numpy()
        return np.asarray(cost if raw else np.maximum(cost - self.floor, 0.0) / (self.limit - self.floor))

    def coverage(self, mask: Bools) -> Doubles:
        """Share of the usual features that are present, float64 [n] for mask [n, D]."""
        return np.asarray((mask @ self.usual) / max(float(self.usual.sum()), 1.0))

    def tensors(self) -> dict[str, Tensor]:
        """What `from_tensors` reads back exactly."""
        rows = {"centre": self.centre, "spread": self.spread, "usual": self.usual}
        named = {f"vae.{name}": torch.from_numpy(row.copy()) for name, row in rows.items()}
        network = {f"vae.network.{name}": tensor.clone() for name, tensor in self.network.state_dict().items()}
        return named | network | {"vae.limits": torch.tensor([self.floor, self.limit], dtype=torch.float64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """BundleError if a tensor is missing, misshapen or not finite."""
        mine = {name.removeprefix("vae."): tensor for name, tensor in tensors.items() if name.startswith("vae.")}
        if not all(torch.isfinite(tensor).all() for tensor in mine.values()):
            raise BundleError("the autoencoder of the risk file is not finite; train the bundle again")
        try:
            network = _blank(len(mine["centre"]))
            weights = {k.removeprefix("network."): v for k, v in mine.items() if k.startswith("network.")}
            network.load_state_dict(weights)
            rows = [mine[name].double().numpy() for name in ("centre", "spread", "usual")]
            floor, limit = mine["limits"].tolist()
        except (KeyError, RuntimeError, ValueError) as error:
            raise BundleError(f"the autoencoder of the risk file is not whole ({error}); train again") from None
        network.eval().requires_grad_(False)
        return cls(network, rows[0], rows[1], rows[2], floor, limit)

    def _tensors_of(self, values: Floats, mask: Bools) -> tuple[Tensor, Tensor]:
        known = mask & (self.spread > 0)
        z = np.where(known, values - self.centre, 0.0) / np.where(self.spread > 0, self.spread, 1.0)
        clipped = np.clip(z, -CLIP, CLIP).astype(np.float32)
        return torch.from_numpy(clipped), torch.from_numpy(known.astype(np.float32))


def _blank(dims: int) -> Autoencoder:
    """Weights that are about to be set; torch draws some first, which must not move anybody's generator."""
    with torch.random.fork_rng(devices=[]):
        return Autoencoder(dims)


def _start(network: Autoencoder, z: Tensor, generator: torch.Generator) -> None:
    """Weights of probabilistic PCA (Tipping and Bishop 1999) of z [n, D]; the bending parts start silent."""
    for bend in (network.encode_more, network.decode_more):
        weight, bias, last, offset = bend.parameters()
        bound = 1.0 / math.sqrt(weight.shape[1])
        nn.init.uniform_(weight, -bound, bound, generator=generator)
        nn.init.zeros_(bias)
        nn.init.zeros_(last)
        nn.init.zeros_(offset)
    latent, dims = network.encode.weight.shape
    size, axes = torch.linalg.eigh(torch.cov(z.T.double()) + 1e-6 * torch.eye(dims, dtype=torch.float64))
    size, axes, rest = size.flip(0)[:latent], axes.flip(1)[:, :latent], size[: max(dims - latent, 1)].mean()
    loading = axes * (size - rest).clamp(min=1e-6).sqrt()
    with torch.no_grad():
        network.decode.weight.copy_(loading)
        network.encode.weight.copy_((loading / size).T)
        network.log_variance.copy_((rest / size).clamp(max=1.0).log())
        nn.init.zeros_(network.encode.bias)
        nn.init.zeros_(network.decode.bias)
        network.log_scale.copy_((z.double() - z.double() @ axes @ axes.T).std(0).clamp(min=1e-3).log() - 0.3)


def _learn(network: Autoencoder, z: Tensor, mask: Tensor, generator: torch.Generator) -> None:
    """Adam on mini-batches with a linearly falling rate, gradients clipped at norm 5 per state."""
    _start(network, z, generator)
    latent = len(network.log_variance)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 - step / STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(z), (BATCH,), generator=generator)
        seen = mask[rows] * (torch.rand(BATCH, z.shape[1], generator=generator) >= DROPPED)
        noise = torch.randn(BATCH, latent, generator=generator)
        loss = network.loss(z[rows], mask[rows], seen, noise).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 50.0)
        optimiser.step()
        falling.step()
    network.eval().requires_grad_(False)


def _moments(values: Floats, mask: Bools) -> tuple[Doubles, Doubles]:
    """Mean and deviation of each feature over its present rows; deviation 0 where it never varies."""
    kept = np.where(mask, values, 0.0).astype(np.float64)
    count = np.maximum(mask.sum(axis=0), 1)
    mean = kept.sum(axis=0) / count
    spread = np.sqrt((np.where(mask, values - mean, 0.0) ** 2).sum(axis=0) / count)
    return mean, np.where(spread > 1e-9 * (1.0 + np.abs(mean)), spread, 0.0)
