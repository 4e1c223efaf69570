"""The world model: what the market will probably do, as a causal transformer over a stochastic latent (STORM).

    values, mask --encoder--> logits of z_t      posterior: no recurrence, so training is one parallel pass
    z_<=t, e_<=t --transformer--> h_t            memory; e_t is the encoder's embedding, 0 where only imagined
    h_t --> prior of z_{t+1}                     dynamics, what imagination samples
    h_t --> mixtures of returns at each horizon  direct heads, an ensemble: what forecasts are served from
    z_t --> weak reconstruction                  keeps the latent tied to the state

An observed step enters the memory with its whole embedding, not only with the few bits of z_t: forecasts are limited by
the data and not by the latent. An imagined step has only z_t, so training hides the embeddings after a random time.

Trained by `training`, rolled out by `decision_engine`. The market does not react to us, so there is no action here.
It must never draw from a global random state: every draw takes a generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cryptoai.core.config import ModelConfig
from cryptoai.core.errors import BundleError, InvariantError
from cryptoai.encoders.groups import STATE_DIM
from cryptoai.encoders.norm import RMSNorm
from cryptoai.encoders.state import CLASSES, StateEncoder
from cryptoai.world_model.distributions import ReturnMixture, kl, log_probabilities, mode, sample
from cryptoai.world_model.returns import COMPONENTS, HORIZONS, ReturnEnsemble, pooled, wide_base
from cryptoai.world_model.transformer import CausalTransformer, KVCache

__all__ = ["COMPONENTS", "HORIZONS", "Batch", "Latent", "Observed", "WorldModel", "load"]

FREE_NATS = 1.0
WEIGHTS = {"returns": 1.0, "dynamics": 0.5, "representation": 0.1, "reconstruction": 0.1}


@dataclass(frozen=True, slots=True)
class Batch:
    """Training sequences. values, mask: (B, T, 200); returns, known (B, T, H); scored (B, T).

    Returns are in volatility units. A step that is not `scored` is context only: it adds to no term of the loss.
    """

    values: Tensor
    mask: Tensor
    returns: Tensor
    known: Tensor
    scored: Tensor


@dataclass(frozen=True, slots=True)
class Observed:
    """One parallel pass: h (B, T, hidden), z (B, T, latent), logits (B, T, G, 8), prior of the *next* z likewise."""

    h: Tensor
    z: Tensor
    posterior: Tensor
    prior: Tensor
    valid: Tensor


@dataclass(frozen=True, slots=True)
class Latent:
    """Where a rollout stands: memory h (B, hidden), market latent z (B, latent), and the cache behind h.

    A cache is written in place: to branch into several futures, `fork` the latent once a branch.
    """

    h: Tensor
    z: Tensor
    cache: KVCache
    length: int

    @property
    def feature(self) -> Tensor:
        """(B, hidden + latent): what policy and critic see."""
        return torch.cat([self.h, self.z], -1)

    def fork(self) -> Latent:
        return Latent(self.h, self.z, self.cache.clone(), self.length)

    def spread(self, count: int) -> Latent:
        """`count` forks of each of the B, side by side: (B * count, ...)."""
        h, z = self.h.repeat_interleave(count, 0), self.z.repeat_interleave(count, 0)
        return Latent(h, z, self.cache.spread(count), self.length)


class WorldModel(nn.Module):
    """Encoder, dynamics and heads. `encoder` is part of it but saved in its own file."""

    return_scale: Tensor
    base: Tensor
    trust: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, latent = config.hidden_dim, config.latent_dim
        self.encoder = StateEncoder(config)
        self.token = _head(latent + hidden, hidden, hidden)
        self.transformer = CausalTransformer(config)
        self.prior = _head(hidden, hidden, latent)
        self.decoder = _head(latent, hidden, STATE_DIM)
        self.returns = ReturnEnsemble(hidden)  # gives zero at first: the first forecast is `base`, exactly
        self.register_buffer("return_scale", torch.ones(()))
        self.register_buffer("base", wide_base())
        self.register_buffer("trust", torch.ones(len(HORIZONS)))
        self.hidden_dim, self.feature_dim = hidden, hidden + latent

    def set_units(self, return_scale: float, base: Tensor) -> None:
        """`return_scale`: log return of a volatility unit; `base` (H, 3, K): the mixture that forecasts start from."""
        self.return_scale.fill_(return_scale)
        self.base.copy_(base)

    def set_trust(self, trust: Tensor) -> None:
        """(H,) in [0, 1]: how far forecasts may leave `base`; training measures it where the model was not fitted."""
        self.trust.copy_(trust)

    def observe(self, values: Tensor, mask: Tensor, generator: torch.Generator | None = None) -> Observed:
        """values, mask (B, T, 200) in one pass; z is drawn with `generator`, or is the mode without one."""
        embedding = self.encoder.embed(*self.encoder.scale(values, mask))
        return self._observe(embedding, embedding, mask, generator)

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise and every term of it, in float32. Terms: see WEIGHTS."""
        scaled, present = self.encoder.scale(batch.values, batch.mask)
        embedding = self.encoder.embed(scaled, present)
        seen = self._observe(embedding, _until_cut(embedding, generator), batch.mask, generator)
        with torch.autocast(seen.h.device.type, enabled=False):
            terms = {
                "returns": self._return_loss(seen.h, batch),
                "reconstruction": _masked_mean(self._misfit(seen.z, scaled, present), seen.valid & batch.scored),
                **_latent_losses(seen, batch.scored),
            }
        if set(terms) != set(WEIGHTS):
            raise InvariantError("a loss term of the world model has no weight")
        return torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum(), terms

    def mixture(self, h: Tensor) -> ReturnMixture:
        """h (..., hidden) -> returns of the next 1, 4, 16 and 64 steps, all members together; differentiable."""
        return pooled(self.members(h))

    def members(self, h: Tensor) -> ReturnMixture:
        """h (..., hidden) -> what each member of the ensemble says, (..., members, H, K)."""
        return ReturnMixture.of(self.trust[:, None, None] * self.returns(h).float() + self.base)

    @torch.no_grad()
    def start(self, values: Tensor, mask: Tensor, generator: torch.Generator | None = None, room: int = 16) -> Latent:
        """A history (B, T, 200), newest last, left-padded with mask False; `room` later steps fit into the cache."""
        embedding = self.encoder.embed(*self.encoder.scale(values, mask))
        z = self._choose(self.encoder.logits(embedding), generator)
        tokens = self.tokens(z, embedding)
        cache = self.transformer.cache(len(z), z.shape[1] + room, tokens)
        h = self.transformer(tokens, mask.any(-1), cache)
        return Latent(h[:, -1], z[:, -1], cache, z.shape[1])

    @torch.no_grad()
    def step(self, latent: Latent, generator: torch.Generator) -> tuple[Latent, Tensor]:
        """Draws the return of the next step (B,), in volatility units, and the market latent after it."""
        returns = self.mixture(latent.h).sample(generator)[:, 0]
        z = sample(self._prior(latent.h), generator)
        valid = torch.ones(len(z), 1, dtype=torch.bool, device=z.device)
        tokens = self.tokens(z.unsqueeze(1), z.new_zeros(len(z), 1, self.hidden_dim))
        h = self.transformer(tokens, valid, latent.cache, latent.length)
        return Latent(h[:, 0], z, latent.cache, latent.length + 1), returns

    @torch.no_grad()
    def forecast(self, latent: Latent) -> ReturnMixture:
        """Returns of the next 1, 4, 16 and 64 steps (B, H), in volatility units."""
        return self.mixture(latent.h)

    @torch.no_grad()
    def disagreement(self, latent: Latent) -> Tensor:
        """(B,): sd over the members of the expected return of the next step, in volatility units.

        What the model itself is unsure of: a rollout that takes a multiple of it off the reward of each step stays
        where the data were (Yu et al. 2020, MOPO).
        """
        return self.members(latent.h).mean[..., 0].std(-1)

    def _observe(self, embedding: Tensor, shown: Tensor, mask: Tensor, generator: torch.Generator | None) -> Observed:
        """`embedding` gives the posterior, `shown` is what of it the memory gets, both (B, T, hidden)."""
        posterior = self.encoder.logits(embedding)
        z, valid = self._choose(posterior, generator), mask.any(-1)
        h = self.transformer(self.tokens(z, shown), valid)
        return Observed(h, z, posterior, self._prior(h), valid)

    def tokens(self, z: Tensor, shown: Tensor) -> Tensor:
        """What the memory is given: latent (B, T, latent) and embedding (B, T, hidden), zero where only imagined."""
        tokens: Tensor = self.token(torch.cat([z.to(shown.dtype), shown], -1))
        return tokens

    def _choose(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        return mode(logits) if generator is None else sample(logits, generator)

    def _prior(self, h: Tensor) -> Tensor:
        logits: Tensor = self.prior(h).float().unflatten(-1, (-1, CLASSES))
        return logits

    def _return_loss(self, h: Tensor, batch: Batch) -> Tensor:
        known = batch.known & batch.scored.unsqueeze(-1)
        target = torch.where(known, batch.returns, 0.0)
        each = self.members(h.float()).log_prob(target.unsqueeze(-2)).mean(-2)
        return _masked_mean(-each, known)

    def _misfit(self, z: Tensor, scaled: Tensor, present: Tensor) -> Tensor:
        """(B, T): squared error summed over the present features (unit-variance Gaussian, up to a constant)."""
        wrong = (self.decoder(z.float()) - scaled.float()) ** 2
        return 0.5 * torch.where(present, wrong, 0.0).sum(-1)


def load(folder: Path, config: ModelConfig) -> WorldModel:
    """The world model of a verified bundle folder, frozen, on the CPU; BundleError if the tensors do not fit."""
    model = WorldModel(config)
    tensors = {f"encoder.{name}": tensor for name, tensor in load_file(folder / "encoders.safetensors").items()}
    tensors |= load_file(folder / "world_model.safetensors")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise BundleError(f"bundle {folder.name}: the tensors do not fit its model section: {error}") from None
    return model.eval().requires_grad_(False)


def _until_cut(embedding: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the sequences stay whole; in the others everything after a random step is zero, as in imagination."""
    size, steps = embedding.shape[:2]
    draw = torch.rand(2, size, 1, 1, generator=generator, device=embedding.device)
    cut = torch.where(draw[0] < 0.5, steps, 1 + (draw[1] * (steps - 1)).floor())
    later = torch.arange(steps, device=embedding.device)[:, None] >= cut
    return torch.where(later, 0.0, embedding)


def _latent_losses(seen: Observed, scored: Tensor) -> dict[str, Tensor]:
    """KL balance: the prior at t learns the posterior at t + 1, and (weaker) the posterior to be predictable."""
    prior, after = log_probabilities(seen.prior[:, :-1]), log_probabilities(seen.posterior[:, 1:])
    valid = seen.valid[:, :-1] & seen.valid[:, 1:] & scored[:, 1:]
    return {
        "dynamics": _masked_mean(kl(after.detach(), prior).clamp(min=FREE_NATS), valid),
        "representation": _masked_mean(kl(after, prior.detach()).clamp(min=FREE_NATS), valid),
    }


def _masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x where mask; 0 if nowhere."""
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), RMSNorm(hidden), nn.SiLU(), nn.Linear(hidden, outputs))
