"""The learned stack on real data, walked forward and net of costs, as it is: what must hold is that it knows its error.

`cryptoai verify learning --only real` runs it. An edge is reported with its interval and its deflated Sharpe ratio and
passes no gate by being there, nor fails one by not being there: what fails is a forecast whose coverage is not what it
says. Candles are read from `shared/data` beside the checkout; without them only the shipped tape is judged, and the
table says so.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.backtesting.folds import walk_forward
from cryptoai.backtesting.metrics import sharpe
from cryptoai.backtesting.significance import Interval, block_bootstrap, deflated_sharpe
from cryptoai.backtesting.windows import Window
from cryptoai.black_swan.conformal import tracked
from cryptoai.black_swan.evt import kupiec
from cryptoai.core.config import Config, build
from cryptoai.testing.contenders import (
    Boosting,
    ewma_scale,
    fitted_multiple,
    net_bps,
    t4_log_density,
    volatility_target,
)  # fmt: skip
from cryptoai.testing.gates.gate import Check, Gate
from cryptoai.testing.real_market import RealMarket, candles, tape
from cryptoai.training.dataset import Corpus, Dataset, Part
from cryptoai.training.evidence import View, live
from cryptoai.training.parallel import Ranks
from cryptoai.training.recipe import Session, prepare
from cryptoai.world_model.distributions import ReturnMixture
from cryptoai.world_model.model import HORIZONS

__all__ = ["CHECKS"]

PART = "real"
COST_BPS = 5.0
LEVELS = (0.5, 0.9, 0.99)
LEAST_SCALE = 0.05
"""Of the contenders' forecasts, in standard deviations: a market that stands still must not ruin them when it moves."""
TRIALS = 5
"""Results whose best could be picked: policy, buy and hold, target and boosting, and an earlier, shorter training."""

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Walked:
    """Everybody on the test rows of all folds, an entry a row: log density in basis points, and net result.

    pit: where the next return fell in our forecast, in (0, 1); loss: its distance from our median, and limits: half of
    the central interval of each level, in the same unit; overlap: rows that share the same next return.
    """

    pit: Floats
    loss: Floats
    limits: dict[float, Floats]
    log_score: dict[str, Floats]
    net: dict[str, Floats]
    overlap: int


def _config(quick: bool) -> Config:
    return build(
        {
            "data": {"sample_ms": 1000},
            "execution": {"decision_interval_ms": 1000},
            "model": {"hidden_dim": 32, "latent_dim": 32, "layers": 2, "heads": 4, "context": 16},
            "training": {
                "batch_size": 64, "sequence": 16, "learning_rate": 1e-3, "encoder_epochs": 1, "cost_bps": COST_BPS,
                "world_model_epochs": 8 if quick else 4, "policy_epochs": 10 if quick else 40,
            },
        }
    )  # fmt: skip


def _walk(market: RealMarket, folds: int, quick: bool) -> Walked:
    """Each fold learns on what came before its test; the embargo is the longest label or memory."""
    step = market.timing.sample_ns * market.timing.stride
    label = max(HORIZONS) * step
    times = market.rows.times
    cuts = walk_forward(
        Window(int(times[0]), int(times[-1])), folds,
        train_share=0.6, label_ns=label, embargo_ns=max(label, market.memory_ns),
    )  # fmt: skip
    parts = [_judged(market, cut.train[0], cut.test[0], _config(quick)) for cut in cuts]
    return Walked(
        np.concatenate([p.pit for p in parts]),
        np.concatenate([p.loss for p in parts]),
        {level: np.concatenate([p.limits[level] for p in parts]) for level in LEVELS},
        {name: np.concatenate([p.log_score[name] for p in parts]) for name in parts[0].log_score},
        {name: np.concatenate([p.net[name] for p in parts]) for name in parts[0].net},
        market.timing.stride,
    )


def _judged(market: RealMarket, train: Window, test: Window, config: Config) -> Walked:
    seen, later = market.rows.within(train), market.rows.within(test)
    job = prepare([seen], config, Ranks(), timing=market.timing)
    with tempfile.TemporaryDirectory() as folder:
        Session(Path(folder), job.ranks).run(job)
    corpus = Corpus.of([later], market.timing, torch.device("cpu"), scale=job.corpus.return_scale)
    view = View.of(job.model, corpus, Part.TEST, config.model.context)
    forecast, base = (
        view.forecast(job.model),
        ReturnMixture.of(job.model.base.expand(len(view.rows), *job.model.base.shape)),
    )
    unit = math.log(corpus.return_scale * 1e4)
    x = view.returns[:, 0].double().numpy() * corpus.return_scale * 1e4
    scores = {
        "ours": forecast.log_prob(view.returns)[:, 0].double().numpy() - unit,
        "unconditional": base.log_prob(view.returns)[:, 0].double().numpy() - unit,
    }
    others, net = _contenders(market, seen, later, view.rows, x)
    lived = live(job.policy, view, corpus, COST_BPS * 1e-4 / corpus.return_scale)
    pit = forecast.cdf(view.returns)[:, 0].double().numpy()
    loss = (view.returns[:, 0] - _quantile(forecast, 0.5)).abs().double().numpy()
    limits = {level: _half(forecast, level) for level in LEVELS}
    return Walked(pit, loss, limits, scores | others, {"ours": lived.net_bps.mean(1)} | net, market.timing.stride)


def _quantile(forecast: ReturnMixture, p: float) -> torch.Tensor:
    """Of the next return, [n]."""
    return forecast.quantile(p)[:, 0]


def _half(forecast: ReturnMixture, level: float) -> Floats:
    wide = _quantile(forecast, 0.5 + level / 2) - _quantile(forecast, 0.5 - level / 2)
    half: Floats = (wide / 2).double().numpy()
    return half


def _contenders(
    market: RealMarket, seen: Dataset, later: Dataset, rows: Rows, x: Floats
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Log scores at `rows` of the test, whose next returns are x, and net results, of all but the learned stack."""
    stride = market.timing.stride
    used = np.flatnonzero(seen.mask.any(0))
    fit_features, fit_next, fit_scale = _table(seen, stride, used)
    features, _, scale = _table(later, stride, used)
    known = np.isfinite(fit_next)
    floor = LEAST_SCALE * float(np.std(fit_next[known]))
    fit_scale, scale = np.maximum(fit_scale, floor), np.maximum(scale, floor)
    multiple = fitted_multiple(fit_next[known], np.zeros(known.sum()), fit_scale[known])
    boosting = Boosting.fit(fit_features[known], fit_next[known], floor)
    scores = {
        "ewma t": t4_log_density(x, np.zeros(len(x)), multiple * scale[rows]),
        "boosting": t4_log_density(x, *boosting.forecast(features[rows])),
    }
    whole = rows[: len(rows) // stride * stride].reshape(-1, stride)
    after = x[: whole.size].reshape(-1, stride)
    target = float(np.median(fit_scale))
    phases = [(whole[:, k], after[:, k]) for k in range(stride)]

    def traded(trade: Callable[[Rows], Floats]) -> Floats:
        """Net result a decision, the mean over phases."""
        found: Floats = np.mean([net_bps(trade(at), gain, COST_BPS) for at, gain in phases], axis=0)
        return found

    return scores, {
        "flat": traded(lambda at: np.zeros(len(at))),
        "buy and hold": traded(lambda at: np.ones(len(at))),
        "volatility target": traded(lambda at: volatility_target(scale[at], target)),
        "boosting": traded(lambda at: boosting.exposures(features[at], COST_BPS)),
    }


def _table(data: Dataset, stride: int, used: Rows) -> tuple[Floats, Floats, Floats]:
    """Features of the `used` columns, next return in basis points (NaN where unknown), and EWMA scale at each row."""
    log = np.log(np.where(data.mid > 0, data.mid, np.nan))
    ahead = np.full(len(log), np.nan)
    ahead[:-stride] = (log[stride:] - log[:-stride]) * 1e4
    past = np.nan_to_num(np.concatenate([np.zeros(stride), ahead[:-stride]]))
    return np.where(data.mask, data.values, np.nan)[:, used].astype(np.float64), ahead, ewma_scale(past)


def _gates(name: str, walked: Walked, draws: np.random.Generator) -> Iterator[Gate]:
    n, independent = len(walked.pit), len(walked.pit) // walked.overlap
    rows = f"{n} test rows, {independent} of them without overlap"
    covered = [float((np.abs(walked.pit - 0.5) <= level / 2).mean()) for level in LEVELS]
    misses = [abs(c - level) for c, level in zip(covered, LEVELS, strict=True)]
    allowed = [max(0.02, 3 * math.sqrt(level * (1 - level) / independent)) for level in LEVELS]
    yield Gate(
        PART, f"{name}: largest miss of 50/90/99 % coverage", max(misses), "<= .02, or 3 standard errors if more",
        all(miss <= most for miss, most in zip(misses, allowed, strict=True)),
        note=rows + "; covered " + ", ".join(f"{c:.3f}" for c in covered),
    )  # fmt: skip
    if walked.overlap == 1:
        yield _tracked(name, walked, rows)
    tail = kupiec(walked.pit < 0.01, 0.99, walked.overlap)
    yield Gate(
        PART, f"{name}: breaches of 99 % value at risk, Kupiec p", tail.p_value, "> .05", tail.p_value > 0.05,
        note=f"{rows}; rate {float((walked.pit < 0.01).mean()):.4f}",
    )  # fmt: skip
    yield _reported(name, "log score of the next return, nats over unconditional", _won(walked), walked.overlap, draws)
    yield _reported(name, "net result, basis points a decision", walked.net, 1, draws)


def _tracked(name: str, walked: Walked, rows: str) -> Gate:
    """The same intervals, each widened or narrowed by what came before it (`black_swan.conformal.tracked`)."""
    covered = [float((walked.loss <= tracked(walked.loss, walked.limits[level], level)).mean()) for level in LEVELS]
    worst = max(abs(c - level) for c, level in zip(covered, LEVELS, strict=True))
    return Gate(PART, f"{name}: the same with tracked limits", worst, "<= .02", worst <= 0.02,
                note=rows + "; covered " + ", ".join(f"{c:.3f}" for c in covered))  # fmt: skip


def _won(walked: Walked) -> dict[str, Floats]:
    base = walked.log_score["unconditional"]
    return {name: score - base for name, score in walked.log_score.items() if name != "unconditional"}


def _reported(name: str, metric: str, series: dict[str, Floats], overlap: int, draws: np.random.Generator) -> Gate:
    """Ours and all others as they are, with intervals; what is asked is that they are there."""
    length = max(overlap, math.ceil(len(series["ours"]) ** (1 / 3)))
    ends = {who: block_bootstrap(values, _mean, draws, block=length) for who, values in series.items()}
    told = "; ".join(
        f"{who} {_mean(values):.4f} in [{ends[who].low:.4f}, {ends[who].high:.4f}]" for who, values in series.items()
    )
    if metric.startswith("net"):
        told += f"; Sharpe ratio a decision {_ratio(series['ours'])}, "
        told += f"deflated for {TRIALS} trials {_deflated(series['ours'])}"
    others = {who: _mean(values) for who, values in series.items() if who != "ours"}
    whole = all(_is_interval(end) for end in ends.values())
    return Gate(PART, f"{name}: {metric}", _mean(series["ours"]), "reported with its 90 % interval", whole, others,
                note=f"{told}; verdict: {_verdict(ends['ours'])}")  # fmt: skip


def _verdict(found: Interval) -> str:
    if found.low > 0:
        return "above zero on these rows"
    return "below zero on these rows" if found.high < 0 else "cannot be told from zero"


def _is_interval(found: Interval) -> bool:
    return math.isfinite(found.low) and math.isfinite(found.high) and found.low <= found.high


def _ratio(net: Floats) -> str:
    found = sharpe(net, 1.0)
    return "none, it never trades" if found is None else f"{found:.4f}"


def _deflated(net: Floats) -> str:
    found = deflated_sharpe(net, TRIALS)
    return "none" if found is None else f"{found:.3f}"


def _mean(values: Floats) -> float:
    return float(values.mean())


def on_tape(quick: bool) -> Sequence[Gate]:
    """The shipped capture of six minutes: one walk-forward test."""
    return list(_gates("tape", _walk(tape(), 1, quick), np.random.default_rng(0)))


def on_candles(quick: bool) -> Sequence[Gate]:
    """Two perpetuals, 16,000 five-minute candles in two folds; 5,000 of one in one fold where it is quick."""
    gates: list[Gate] = []
    for symbol in ("BTC",) if quick else ("BTC", "ETH"):
        market = candles(symbol, 5000 if quick else 16_000)
        if market is None:
            gates.append(_absent(symbol))
            continue
        walked = _walk(market, 1 if quick else 2, quick)
        gates += _gates(f"{symbol} 5m", walked, np.random.default_rng(0))
    return gates


def _absent(symbol: str) -> Gate:
    return Gate(PART, f"{symbol} 5m: candles", math.nan, "reported where there is data", True,
                note="shared/data beside the checkout is absent here: nothing was measured")  # fmt: skip


CHECKS: tuple[Check, ...] = (Check("real.tape", on_tape), Check("real.candles", on_candles))
