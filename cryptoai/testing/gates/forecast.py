"""The world model on the switching market: forecasts, their calibration, imagination, and what must not be learned.

All figures are negative log-likelihoods in nats of returns in basis points, or shares; lower or nearer is better as the
gate says. Judges see the same rows in the same run: the unconditional mixture that training starts from, ARX-GARCH-t,
and the market's own filter with the true parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryptoai.testing.ablation import MATERIAL, ablated
from cryptoai.testing.forecasting import (
    Recipe,
    Trained,
    fair_crps,
    gap_closed,
    mean_interval,
    memories,
    permuted,
    train_on,
)  # fmt: skip
from cryptoai.testing.garch_judge import GarchJudge
from cryptoai.testing.gates.gate import Check, Gate
from cryptoai.testing.market import SyntheticMarket, synthetic_dataset
from cryptoai.testing.market.carriers import CARRIERS, IDLE, carrier_market
from cryptoai.testing.market.switching import UNIT
from cryptoai.world_model import HORIZONS, ReturnMixture
from cryptoai.world_model.rollout import RolloutMap, imagined_returns, ranks

__all__ = ["CHECKS"]

PART = "forecast"
LEVELS = (0.5, 0.9, 0.99)
FULL, QUICK = Recipe(600), Recipe(300, batch=16)
ROWS, TEST_ROWS = 80_000, 40_000
FIT_SHARE = 0.8
ROLLED = (4, 16)
JUDGED, ROLL_STARTS, PATHS = 1000, 1000, 48
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bench:
    """One trained model, its judge and the test market, [n] test rows each with at least half a window of past."""

    trained: Trained
    judge: GarchJudge
    market: SyntheticMarket
    rows: npt.NDArray[np.int64]
    memory: Tensor
    forecast: ReturnMixture

    @property
    def bps(self) -> float:
        """Basis points of a volatility unit."""
        return self.trained.unit / UNIT

    def realised(self, steps: int, rows: npt.NDArray[np.int64]) -> Floats:
        """Cumulative return in basis points."""
        return self.market.future(steps)[rows] / UNIT

    def own(self) -> tuple[Floats, Floats]:
        """Negative log density and probability integral transform of the next return at each row."""
        x = torch.from_numpy(self.realised(1, self.rows) / self.bps).float()[:, None].expand(-1, len(HORIZONS))
        nll = -self.forecast.log_prob(x)[:, 0].double().numpy() + np.log(self.bps)
        return nll, self.forecast.cdf(x)[:, 0].double().numpy()


@cache
def bench(quick: bool) -> Bench:
    """Trains once for all checks of a process."""
    market, test = (synthetic_dataset(seed, n, step_ms=1000, missing=0.0) for seed, n in ((1, ROWS), (1001, TEST_ROWS)))
    trained = train_on(market, QUICK if quick else FULL)
    fitted = slice(0, int(FIT_SHARE * ROWS))
    judge = GarchJudge.fit(market.returns[fitted] / UNIT, market.signal[fitted])
    rows, memory = memories(trained.model, test.values, test.mask, trained.recipe.sequence)
    whole = rows < TEST_ROWS - max(HORIZONS)
    with torch.no_grad():
        return Bench(trained, judge, test, rows[whole], memory[whole], trained.model.mixture(memory[whole]))


def next_step(quick: bool) -> Sequence[Gate]:
    """Likelihood, coverage and calibration of the next return."""
    from scipy import stats

    made = bench(quick)
    ours, pit = made.own()
    losses = {name: loss[made.rows] for name, loss in _judged(made).items()}
    mean = {name: float(loss.mean()) for name, loss in losses.items()}
    low, high = mean_interval(ours - losses["arx_garch_t"], block=50)
    garch_gap = gap_closed(mean["arx_garch_t"], mean["unconditional"], mean["oracle"])
    covered = [float((np.abs(pit - 0.5) <= level / 2).mean()) for level in LEVELS]
    uniform = stats.kstest(pit[::10], "uniform")
    n = f"{len(ours)} test rows, {made.trained.recipe.steps} steps of training"
    baselines = {name: mean[name] for name in ("unconditional", "arx_garch_t")}
    return [
        Gate(PART, "gap closed at h=1", closed := gap_closed(float(ours.mean()), mean["unconditional"], mean["oracle"]),
             ">= .80", closed >= 0.80, {"arx_garch_t": garch_gap}, 1.0, n),
        Gate(PART, "NLL of the next return, nats", float(ours.mean()), "not significantly worse than ARX-GARCH-t",
             low <= 0.0, baselines, mean["oracle"], f"difference in [{low:.4f}, {high:.4f}] (95 %, blocks of 50)"),
        Gate(PART, "largest miss of 50/90/99 % coverage", miss := _miss(covered), "<= .02", miss <= 0.02,
             note="covered " + ", ".join(f"{c:.3f}" for c in covered)),
        Gate(PART, "PIT against uniform, KS p", float(uniform.pvalue), ">= .05", bool(uniform.pvalue >= 0.05),
             note=f"every tenth row, distance {uniform.statistic:.4f}"),
    ]  # fmt: skip


def horizons(quick: bool) -> Sequence[Gate]:
    """CRPS of the direct heads at 4, 16 and 64 steps; ensembles of equal size from every contender."""
    made, rng = bench(quick), np.random.default_rng(3)
    rows = made.rows[np.linspace(0, len(made.rows) - 1, JUDGED).astype(np.int64)]
    at, count, longest = np.searchsorted(made.rows, rows), 200, max(HORIZONS)
    truth = np.cumsum(made.market.paths(rows, longest, count, rng), -1) / UNIT
    returns = made.market.returns / UNIT
    sd = made.judge.filtered(returns, made.market.signal)[1]
    state = returns[rows - 1], made.market.signal[rows], sd[rows]
    garch = np.cumsum(made.judge.paths(state, longest, count, rng), -1)
    base = ReturnMixture.of(made.trained.model.base.expand(len(rows), -1, -1, -1))
    own = ReturnMixture(*(part[at] for part in (made.forecast.logits, made.forecast.loc, made.forecast.scale)))
    gates = []
    for h, steps in enumerate(HORIZONS[1:], 1):
        seen = made.realised(steps, rows)
        drawn = {
            "ours": _samples(own, h, count) * made.bps, "unconditional": _samples(base, h, count) * made.bps,
            "arx_garch_t": garch[..., steps - 1], "oracle": truth[..., steps - 1],
        }  # fmt: skip
        scores = {name: fair_crps(samples, seen) for name, samples in drawn.items()}
        mean = {name: float(score.mean()) for name, score in scores.items()}
        low, high = mean_interval(scores["ours"] - scores["arx_garch_t"], block=5)
        gates.append(
            Gate(PART, f"CRPS at {steps} steps, bp", mean["ours"], "not significantly worse than ARX-GARCH-t",
                 low <= 0.0, {name: mean[name] for name in ("unconditional", "arx_garch_t")}, mean["oracle"],
                 f"ours - ARX-GARCH-t in [{low:.4f}, {high:.4f}] (95 %), {len(rows)} starts, {count} draws")
        )  # fmt: skip
    return gates


def imagination(quick: bool) -> Sequence[Gate]:
    """Coverage of imagined cumulative returns, before and after a map fitted on another stretch of the market."""
    made, draws = bench(quick), torch.Generator().manual_seed(5)
    market = synthetic_dataset(2, ROLL_STARTS * 24, step_ms=1000, missing=0.0)
    fitted = RolloutMap.fit(*_rolled(made, market, draws))
    paths, seen = _rolled(made, made.market, draws)
    gates = []
    for steps in ROLLED:
        before = _covered(ranks(paths[steps], seen[steps], draws))
        after = _covered(ranks(fitted.apply(steps, paths[steps]), seen[steps], draws))
        shown = [" ".join(f"{share:.3f}" for share in covered) for covered in (after, before)]
        note = f"covered {shown[0]}, before {shown[1]}; {ROLL_STARTS} starts of {PATHS} paths"
        name = f"largest miss of coverage, {steps} imagined steps"
        missed, raw = _miss(after), _miss(before)
        gates.append(Gate(PART, name, missed, "<= .04", missed <= 0.04, {"before the map": raw}, note=note))
    return gates


def doubt(quick: bool) -> Sequence[Gate]:
    """The members differ more where no data were: states of the test market, tenfold, and moved by five sds."""
    made = bench(quick)
    values, mask = made.market.values[:4096], made.market.mask[:4096]
    near, tenfold, moved = (_doubt(made, v, mask) for v in (values, 10 * values, values + 5 * values.std(0)))
    gates = []
    for name, far in (("ten times the features", tenfold), ("five sds off", moved)):
        higher = float((far[:, None] > near[None, :]).float().mean())
        note = f"median disagreement {float(far.median() / near.median()):.1f} times that of the test market"
        gates.append(
            Gate(PART, f"disagreement at {name}, AUC", higher, ">= .75", higher >= 0.75, {"chance": 0.5}, note=note)
        )
    return gates


def nothing_to_learn(quick: bool) -> Sequence[Gate]:
    """Labels dealt out at random: a row's forecast may say no more of its return than another row's forecast does.

    The unconditional mixture is no measure here: it is held at no drift and the market drifts, so that a constant wins.
    """
    recipe = Recipe(60 if quick else 150, hidden=32, latent=16, layers=1)
    market, test = (synthetic_dataset(seed, 20_000, step_ms=1000, missing=0.0) for seed in (4, 1004))
    dealt = np.random.default_rng(0).permutation(test.returns)
    won = _informed(train_on(market, recipe, labels=permuted), test, dealt)
    control = _informed(train_on(market, recipe), test, test.returns)
    low, high = mean_interval(won, block=50)
    note = f"95 % [{low:.5f}, {high:.5f}], {len(won)} rows"
    return [
        Gate(PART, "nats that forecasts know of permuted labels", float(won.mean()), "interval holds 0",
             low <= 0.0 <= high, {"with the true labels": float(control.mean())}, 0.0, note)
    ]  # fmt: skip


@torch.no_grad()
def _informed(trained: Trained, market: SyntheticMarket, returns: Floats) -> Floats:
    """Log density of each row's next return under its own forecast, less that under forecasts of other rows."""
    rows, memory = memories(trained.model, market.values, market.mask, trained.recipe.sequence)
    x = torch.from_numpy(returns[rows] / trained.unit).float()[:, None].expand(-1, len(HORIZONS))
    rng, own = np.random.default_rng(1), trained.model.mixture(memory).log_prob(x)[:, 0]
    orders = [torch.from_numpy(rng.permutation(len(rows))) for _ in range(4)]
    others = torch.stack([trained.model.mixture(memory[order]).log_prob(x)[:, 0] for order in orders])
    return np.asarray((own - others.mean(0)).double().numpy())


def encoders(quick: bool) -> Sequence[Gate]:
    """Each group masked in a training of its own: those that carry information are missed, and only those."""
    rows, groups = 20_000, ("flow", "liquidity") if quick else (*CARRIERS, *IDLE)
    recipe = Recipe(100, hidden=32, latent=16, layers=1, sequence=16, batch=64, rate=3e-3)
    market, test = carrier_market(2, rows), carrier_market(102, rows)
    gates = []
    for loss in ablated(market, test, groups, recipe):
        carries = loss.group in CARRIERS
        asked = f"interval above {MATERIAL}" if carries else f"interval not above {MATERIAL}: it changes nothing"
        note = f"95 % [{loss.low:.4f}, {loss.high:.4f}], {rows} rows"
        gates.append(
            Gate(PART, f"nats lost without {loss.group}", loss.nats, asked, loss.matters == carries, note=note)
        )
    return gates


def future(quick: bool) -> Sequence[Gate]:
    """Inputs after a row are replaced: nothing up to it may differ by a bit; a feature that peeks must be caught."""
    made = bench(quick)
    values, mask = (torch.from_numpy(part[:64].copy())[None] for part in (made.market.values, made.market.mask))
    honest, planted = (_rows_changed(made, features, values, mask) for features in (_same, _peek))
    note = "h, z, prior and forecast of 32 rows"
    return [
        Gate(PART, "outputs that know the future", float(honest), "0", honest == 0, note=note),
        Gate(PART, "the same with a planted leak", float(planted), "> 0: it is caught", planted > 0, note=note),
    ]


def _same(values: Tensor) -> Tensor:
    return values


def _peek(values: Tensor) -> Tensor:
    """The first feature of each row is that of the row after it."""
    shifted = values.clone()
    shifted[:, :-1, 0] = values[:, 1:, 0]
    return shifted


@torch.no_grad()
def _rows_changed(made: Bench, features: Callable[[Tensor], Tensor], values: Tensor, mask: Tensor) -> int:
    """Rows among the first half whose outputs change when the second half of the inputs does."""
    half, model = values.shape[1] // 2, made.trained.model
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    later = torch.where(torch.arange(values.shape[1])[None, :, None] >= half, values + noise, values)
    before, after = (model.observe(features(v), mask) for v in (values, later))
    pairs = [(before.h, after.h), (before.z, after.z), (before.prior, after.prior),
             (model.mixture(before.h).loc, model.mixture(after.h).loc)]  # fmt: skip
    different = [(one[0, :half] != other[0, :half]).flatten(1).any(1) for one, other in pairs]
    return int(torch.stack(different).any(0).sum())


def _judged(made: Bench) -> dict[str, Floats]:
    """Negative log density, at every row of the test market, of each judge."""
    returns = made.market.returns / UNIT
    base = ReturnMixture.of(made.trained.model.base)
    x = torch.from_numpy(returns / made.bps).float()[:, None].expand(-1, len(HORIZONS))
    return {
        "unconditional": -base.log_prob(x)[:, 0].double().numpy() + np.log(made.bps),
        "arx_garch_t": -made.judge.log_density(returns, made.market.signal),
        "oracle": -made.market.log_density(),
    }


def _samples(mixture: ReturnMixture, h: int, count: int) -> Floats:
    one = (part[:, None, h : h + 1].expand(-1, count, -1, -1) for part in (mixture.logits, mixture.loc, mixture.scale))
    return ReturnMixture(*one).sample(torch.Generator().manual_seed(h))[..., 0].double().numpy()


@torch.no_grad()
def _rolled(
    made: Bench, market: SyntheticMarket, draws: torch.Generator
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Imagined and realised cumulative returns, in volatility units, of spaced starts."""
    model, length = made.trained.model, made.trained.recipe.sequence
    ends = np.linspace(length, len(market.values) - max(ROLLED) - 1, ROLL_STARTS).astype(np.int64)
    drawn: dict[int, list[Tensor]] = {steps: [] for steps in ROLLED}
    for chunk in np.array_split(ends, -(-len(ends) // 40)):
        window = chunk[:, None] + np.arange(-length + 1, 1)
        start = model.start(torch.from_numpy(market.values[window]), torch.from_numpy(market.mask[window]), draws)
        for steps, paths in imagined_returns(model, start, ROLLED, PATHS, draws).items():
            drawn[steps].append(paths)
    seen = {s: torch.from_numpy(market.future(s)[ends] / made.trained.unit).float() for s in ROLLED}
    return {s: torch.cat(parts) for s, parts in drawn.items()}, seen


def _covered(pit: Tensor) -> list[float]:
    return [float(((pit - 0.5).abs() <= level / 2).float().mean()) for level in LEVELS]


def _miss(covered: Sequence[float]) -> float:
    return max(abs(share - level) for share, level in zip(covered, LEVELS, strict=True))


def _doubt(made: Bench, values: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> Tensor:
    """What `WorldModel.disagreement` says at each row."""
    model = made.trained.model
    return model.members(memories(model, values, mask, made.trained.recipe.sequence)[1]).mean[..., 0].std(-1)


CHECKS = (
    Check("forecast.next_step", next_step),
    Check("forecast.horizons", horizons),
    Check("forecast.imagination", imagination, quick=False),
    Check("forecast.doubt", doubt),
    Check("forecast.nothing_to_learn", nothing_to_learn, quick=False),
    Check("forecast.future", future),
    Check("forecast.encoders", encoders, quick=False),
)
