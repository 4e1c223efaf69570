"""What the bundle may claim: its forecasts, tail and policy on the last rows, which nothing was fitted or chosen on.

Also measures, on the validation part, how far forecasts may be trusted. Called by `recipe` after the stages; the result
is evidence.json of the bundle. It must never hold a number that depends on the machine's clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryptoai.black_swan.evt import Tail, kupiec
from cryptoai.decision_engine.policy import Policy
from cryptoai.decision_engine.reward import reward
from cryptoai.training.dataset import Corpus, Part
from cryptoai.world_model.distributions import ReturnMixture
from cryptoai.world_model.model import HORIZONS, WorldModel

__all__ = ["Lived", "View", "forecast_evidence", "live", "measure_trust", "policy_evidence", "tail_evidence"]

LEVELS = (0.5, 0.9, 0.99)
TRUSTS = tuple(step / 10 for step in range(11))
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class View:
    """What the deployed model sees at rows (n,) of one part, and what came after.

    features (n, F); returns, known (n, H). All on the CPU; each row was given `context` decisions of past.
    """

    rows: NDArray[np.int64]
    features: Tensor
    returns: Tensor
    known: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: WorldModel, corpus: Corpus, part: Part, context: int) -> Self:
        rows = corpus.ends(part, context)
        device = model.return_scale.device
        seen = [torch.zeros(0, model.feature_dim)]
        for chunk in np.array_split(rows, -(-len(rows) // _CHUNK) or 1):
            values, mask = corpus.histories(chunk, context)
            if len(chunk):
                seen.append(model.start(values.to(device), mask.to(device), room=0).feature.cpu())
        at = torch.from_numpy(rows).to(corpus.returns.device)
        return cls(rows, torch.cat(seen), corpus.returns[at].cpu(), corpus.known[at].cpu())

    def forecast(self, model: WorldModel) -> ReturnMixture:
        """`model` must be on the CPU."""
        with torch.no_grad():
            return model.mixture(self.features[:, : model.hidden_dim])

    def surprises(self, model: WorldModel) -> NDArray[np.float64]:
        """(return - mean) / sd of the next step, [n]."""
        forecast = self.forecast(model)
        off: NDArray[np.float64] = ((self.returns - forecast.mean) / forecast.sd)[:, 0].double().numpy()
        return off


@torch.no_grad()
def measure_trust(model: WorldModel, view: View) -> Tensor:
    """(H,): for each horizon the share of its own opinion at which the model forecasts these rows best.

    The heads add to the unconditional mixture, so 0 leaves only that. Where nothing is known nothing is trusted.
    """
    kept, losses = model.trust.clone(), []
    for trust in TRUSTS:
        model.set_trust(torch.full_like(kept, trust))
        losses.append(_mean_nll(view.forecast(model), view))
    model.set_trust(kept)
    return torch.tensor(TRUSTS)[torch.stack(losses).argmin(0)]  # the first, so the least trust, on a tie


def forecast_evidence(model: WorldModel, view: View, stride: int) -> dict[str, Any]:
    """By horizon in steps: likelihood against the unconditional baseline, coverage, calibration, explained share."""
    forecast = view.forecast(model)
    with torch.no_grad():
        baseline = ReturnMixture.of(model.base.expand(len(view.rows), *model.base.shape))
    return {
        str(horizon): _score(_one(forecast, h, view.known), _one(baseline, h, view.known), view, h)
        | {"trust": round(float(model.trust[h]), 3), **_gain(forecast, baseline, view, h, stride)}
        for h, horizon in enumerate(HORIZONS)
        if bool(view.known[:, h].any())
    }


def tail_evidence(tail: Tail, losses: NDArray[np.float64], overlap: int = 1) -> dict[str, Any]:
    """Breaches of the 99 % value at risk, with Kupiec's test of their rate; of `overlap` losses one is independent.

    losses [n] >= 0, in the unit of the tail (`RiskModel.losses`).
    """
    low, high = tail.xi_interval()
    fitted = {"xi": tail.xi, "xi_low": low, "xi_high": high, "exceedances": tail.n_exceed}
    if not len(losses):
        return fitted
    test = kupiec(losses > tail.var(0.99), 0.99, overlap)
    found = {"var99_breach_rate": test.rate, "kupiec_p": test.p_value, "rows": len(losses)}
    return fitted | found | {"independent": len(losses) / overlap}


@torch.no_grad()
def policy_evidence(policy: Policy, view: View, corpus: Corpus, cost: float) -> dict[str, Any]:
    """The policy's mode on the recorded returns, every phase once, beside flat and buy-and-hold; net, basis points.

    A step earns the reward function's profit and pays its cost; fills and latency are the backtest's business.
    """
    lived = live(policy, view, corpus, cost)
    rounds = len(lived.net_bps)
    if rounds < 2:
        return {"decisions": 0}
    bps = corpus.return_scale * 1e4
    return {
        "decisions": rounds,
        "phases": corpus.stride,
        "net_bps_per_decision": float(lived.net_bps.mean()),
        "net_bps_sd": float(lived.net_bps.std(ddof=1)),
        "turnover_per_decision": float(lived.traded.mean()),
        "cost_bps": cost * bps,
        "flat_bps_per_decision": 0.0,
        "buy_and_hold_bps_per_decision": float(lived.held_bps.mean()) - cost * bps / rounds,
    }


@dataclass(frozen=True, slots=True)
class Lived:
    """A policy on recorded returns, float64 (decisions, phases): net result and the market's, both in basis points;
    exposure traded."""

    net_bps: NDArray[np.float64]
    held_bps: NDArray[np.float64]
    traded: NDArray[np.float64]


@torch.no_grad()
def live(policy: Policy, view: View, corpus: Corpus, cost: float) -> Lived:
    """The policy's mode from flat, through the rows of the view up to its first hole, every phase once.

    `cost` of one unit of exposure, in volatility units of the corpus.
    """
    rounds = _contiguous(view.rows) // corpus.stride
    shape = (rounds, corpus.stride)
    features = view.features[: rounds * corpus.stride].reshape(*shape, view.features.shape[-1])
    returns = view.returns[: rounds * corpus.stride, 0].reshape(shape)
    exposure, net, traded = torch.zeros(corpus.stride), [torch.zeros(0, corpus.stride)], [torch.zeros(0, corpus.stride)]
    for feature, after in zip(features, returns, strict=True):
        step = reward(policy(feature, exposure).mode(), exposure, after, cost)
        traded.append((step.exposure - exposure).abs().unsqueeze(0))
        net.append(step.reward[:, :2].sum(-1).unsqueeze(0))
        exposure = step.exposure
    bps = corpus.return_scale * 1e4
    columns = torch.cat(net) * bps, returns * bps, torch.cat(traded)
    return Lived(*(column.double().numpy() for column in columns))


def _one(mixture: ReturnMixture, h: int, known: Tensor) -> ReturnMixture:
    """One horizon, at the rows where its return is known."""
    at = known[:, h]
    return ReturnMixture(mixture.logits[at, h], mixture.loc[at, h], mixture.scale[at, h])


def _score(model: ReturnMixture, baseline: ReturnMixture, view: View, h: int) -> dict[str, Any]:
    x = view.returns[view.known[:, h], h]
    pit = model.cdf(x)
    return {
        "rows": len(x),
        "nll": -float(model.log_prob(x).mean()),
        "nll_unconditional": -float(baseline.log_prob(x).mean()),
        "r2": 1 - float(((x - model.mean) ** 2).sum() / (x**2).sum().clamp(min=1e-12)),
        "coverage": {f"{level:.0%}": float(((pit - 0.5).abs() <= level / 2).float().mean()) for level in LEVELS},
        "pit_ks": _ks(pit),
    }


def _gain(model: ReturnMixture, baseline: ReturnMixture, view: View, h: int, stride: int) -> dict[str, Any]:
    """Mean log-likelihood won, with a standard error over blocks as long as the labels overlap."""
    won = (model.log_prob(view.returns) - baseline.log_prob(view.returns))[view.known[:, h], h].double()
    length = stride * HORIZONS[h]
    blocks = won[: len(won) // length * length].reshape(-1, length).mean(1)
    error = float(blocks.std()) / math.sqrt(len(blocks)) if len(blocks) > 1 else None
    return {"gain": float(won.mean()), "gain_se": error, "blocks": len(blocks)}


def _mean_nll(forecast: ReturnMixture, view: View) -> Tensor:
    """(H,); 0 where nothing is known."""
    losses = torch.where(view.known, -forecast.log_prob(view.returns), 0.0)
    return losses.sum(0) / view.known.sum(0).clamp(min=1)


def _ks(pit: Tensor) -> float:
    """Kolmogorov-Smirnov distance of the probability integral transform from uniform."""
    ordered = pit.sort().values
    steps = torch.arange(1, len(ordered) + 1) / len(ordered)
    return float(torch.maximum(steps - ordered, ordered - steps + 1 / len(ordered)).max())


def _contiguous(rows: NDArray[np.int64]) -> int:
    """How many of the first rows follow each other without a hole."""
    if not len(rows):
        return 0
    holes = np.flatnonzero(np.diff(rows) != 1)
    return int(holes[0]) + 1 if len(holes) else len(rows)
