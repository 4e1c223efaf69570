"""Order flow that excites itself: buys and sells as a two-type Hawkes process, its likelihood, its fit, its oracle.

The gate of the flow encoder and its tests use it. All of it follows from the seed. It must never tell a model the type
of an event before that event.

The process (Hawkes 1971): the rate of type i is
    mu_i + sum_j A_ij sum_(events k of type j, t_k < t) beta exp(-beta (t - t_k))   per second,
so A_ij is the mean number of children of type i that an event of type j has. Type 0 is a sell, 1 a buy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from cryptoai.core.errors import DataError

__all__ = ["TRUTH", "HawkesFlow", "HawkesLaw", "fit_hawkes", "hawkes_flow"]

Floats = npt.NDArray[np.float64]
Types = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class HawkesLaw:
    """mu (2,) events/s, excitation ((2,), (2,)) children per event, beta 1/s: one decay for all pairs."""

    mu: tuple[float, float]
    excitation: tuple[tuple[float, float], tuple[float, float]]
    beta: float

    @property
    def branching(self) -> float:
        """Spectral radius of the excitation; the flow explodes at 1."""
        return float(np.abs(np.linalg.eigvals(np.asarray(self.excitation))).max())

    @property
    def rate(self) -> Floats:
        """Long-run events/s of each type, (2,): (I - A)^-1 mu."""
        return np.asarray(np.linalg.solve(np.eye(2) - np.asarray(self.excitation), np.asarray(self.mu)))

    def intensities(self, flow: HawkesFlow) -> Floats:
        """Rate of each type just before each event, [N, 2] in events/s."""
        kernel, _ = _kernels(flow, self.beta)
        return np.asarray(np.asarray(self.mu) + self.beta * kernel @ np.asarray(self.excitation).T)

    def buy_probability(self, flow: HawkesFlow) -> Floats:
        """P(event n is a buy | its moment and all earlier events), [N]: exact under this law."""
        rates = self.intensities(flow)
        return np.asarray(rates[:, 1] / rates.sum(axis=1))

    def log_likelihood(self, flow: HawkesFlow) -> float:
        """Nats of the whole flow over [0, duration] (Ozaki 1979), by recursion in O(N)."""
        return -_loss(np.array([*self.mu, *np.ravel(self.excitation), self.beta]), flow)[0] * len(flow.times)


TRUTH = HawkesLaw(mu=(0.3, 0.3), excitation=((0.5, 0.2), (0.25, 0.45)), beta=2.0)
"""Branching ratio .70, one event of each type a second."""


@dataclass(frozen=True, slots=True)
class HawkesFlow:
    """times float64 [N], rising seconds; types int8 [N], 0 sell, 1 buy; duration in seconds, at least the last time."""

    times: Floats
    types: Types
    duration: float


def hawkes_flow(seed: int, rows: int, law: HawkesLaw = TRUTH) -> HawkesFlow:
    """The first `rows` events after an empty past, by thinning (Ogata 1981). Same seed, same bytes.

    DataError for a law whose branching ratio is 1 or more.
    """
    if law.branching >= 1:
        raise DataError(f"excitation has branching ratio {law.branching:.2f}, so the flow explodes; keep it below 1")
    rng = np.random.default_rng(seed)
    jump = law.beta * np.asarray(law.excitation)
    jumps = [(float(jump[0, j]), float(jump[1, j])) for j in (0, 1)]
    now, sell, buy = 0.0, 0.0, 0.0
    times, types = np.empty(rows), np.empty(rows, dtype=np.int8)
    done = 0
    while done < rows:
        # The rate only falls until the next event, so the rate of now bounds it.
        bound = law.mu[0] + law.mu[1] + sell + buy
        wait, level = rng.exponential() / bound, rng.random() * bound
        fade = np.exp(-law.beta * wait)
        now, sell, buy = now + wait, sell * fade, buy * fade
        if level >= law.mu[0] + law.mu[1] + sell + buy:
            continue
        kind = int(level >= law.mu[0] + sell)
        times[done], types[done] = now, kind
        sell, buy, done = sell + jumps[kind][0], buy + jumps[kind][1], done + 1
    return HawkesFlow(times, types, now)


def fit_hawkes(flow: HawkesFlow) -> HawkesLaw:
    """Maximum likelihood by L-BFGS-B with exact gradients; DataError if the search does not converge."""
    share = np.bincount(flow.types, minlength=2) / flow.duration
    start = np.array([*(share / 2), 0.25, 0.25, 0.25, 0.25, flow.types.size / flow.duration])
    bounds = [(1e-6, None)] * 2 + [(0.0, 0.99)] * 4 + [(1e-3, None)]
    found = optimize.minimize(_loss, start, args=(flow,), jac=True, method="L-BFGS-B", bounds=bounds)
    if not found.success:
        raise DataError(f"the Hawkes fit of {flow.types.size} events ended early: {found.message}; give more events")
    m0, m1, a, b, c, d, beta = (float(x) for x in found.x)
    return HawkesLaw((m0, m1), ((a, b), (c, d)), beta)


def _loss(theta: Floats, flow: HawkesFlow) -> tuple[float, Floats]:
    """Minus log-likelihood per event and its gradient; theta = (mu0, mu1, A00, A01, A10, A11, beta)."""
    mu, excitation, beta = theta[:2], theta[2:6].reshape(2, 2), theta[6]
    kernel, slope = _kernels(flow, beta)
    rates = mu + beta * kernel @ excitation.T
    rows = np.arange(len(flow.types))
    own = rates[rows, flow.types]
    left = flow.duration - flow.times
    fade = np.exp(-beta * left)
    weight = np.zeros((len(rows), 2))
    weight[rows, flow.types] = 1.0
    reach, reach_slope = weight.T @ (1 - fade), weight.T @ (left * fade)
    value = np.log(own).sum() - mu.sum() * flow.duration - (excitation @ reach).sum()
    score = weight / own[:, None]
    by_excitation = beta * score.T @ kernel - reach
    by_beta = (score * ((kernel + beta * slope) @ excitation.T)).sum() - (excitation @ reach_slope).sum()
    gradient = np.concatenate([score.sum(axis=0) - flow.duration, by_excitation.ravel(), [by_beta]])
    return -float(value) / len(rows), -gradient / len(rows)


def _kernels(flow: HawkesFlow, beta: float) -> tuple[Floats, Floats]:
    """sum_k exp(-beta (t_n - t_k)) over earlier events k of each type, [N, 2], and its slope in beta."""
    gaps = np.diff(flow.times, prepend=flow.times[:1])
    kernel, slope = np.zeros((len(gaps), 2)), np.zeros((len(gaps), 2))
    sums, slopes = [0.0, 0.0], [0.0, 0.0]
    last = -1
    for n, (gap, fade, kind) in enumerate(
        zip(gaps.tolist(), np.exp(-beta * gaps).tolist(), flow.types.tolist(), strict=True)
    ):
        if last >= 0:
            sums[last] += 1.0
        slopes = [fade * (slopes[0] - gap * sums[0]), fade * (slopes[1] - gap * sums[1])]
        sums = [fade * sums[0], fade * sums[1]]
        kernel[n], slope[n] = sums, slopes
        last = kind
    return kernel, slope
