"""Regimes, breaks and order flow: is the filter as good as the one that knows, and is the alarm fast and rarely wrong.

`cryptoai verify learning --only regime` runs it. Every figure is measured on seeds that nothing was fitted or chosen
on: models learn on seeds of TRAIN, the alarm's levels were chosen on others again (1000 to 1011).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cryptoai.black_swan.alarm import Hysteresis
from cryptoai.black_swan.breaks import LEARNED, RECENT, RUN_LENGTH, BreakAlarm, alarm_path
from cryptoai.encoders.bocpd import BOCPD
from cryptoai.encoders.hmm import RegimeHMM, fit_hmm
from cryptoai.testing.gates.gate import Check, Gate
from cryptoai.testing.market.breaks import MIN_GAP, BreakMarket, break_market
from cryptoai.testing.market.hawkes import TRUTH, HawkesFlow, fit_hawkes, hawkes_flow
from cryptoai.testing.market.regimes import RegimeMarket, regime_market
from cryptoai.testing.next_event import FORECASTERS, learn

__all__ = ["CHECKS"]

PART = "regime"
TRAIN, TEST = 7000, 9000
"""First seeds of the data that is learned from, and of the data that judges."""

Floats = npt.NDArray[np.float64]


def _spread(values: Sequence[float] | Floats) -> str:
    """Median and quartiles of a figure over seeds."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"median {middle:.4g}, quartiles {low:.4g} to {high:.4g} of {len(values)} seeds"


# The filter


def _filter(quick: bool) -> Sequence[Gate]:
    seeds, rows = (2, 6000) if quick else (7, 10_000)
    table = [_filter_figures(seed, rows) for seed in range(seeds)]
    accuracy, brier = ({name: [row[name][k] for row in table] for name in table[0]} for k in (0, 1))
    note = f"{_spread(accuracy['ours'])}; fit on {rows} rows, judged on {2 * rows}"
    return [
        _median_gate("filter accuracy", accuracy, ">= .85", lambda ours, _: ours >= 0.85, note),
        _median_gate(
            "filter Brier", brier, "<= oracle + .01", lambda ours, oracle: ours <= oracle + 0.01, _spread(brier["ours"])
        ),
    ]


def _median_gate(
    metric: str, figures: dict[str, list[float]], gate: str, passes: Callable[[float, float], bool], note: str
) -> Gate:
    """Medians over seeds; `figures` holds `ours`, `oracle` and the baselines."""
    middle = {name: float(np.median(values)) for name, values in figures.items()}
    ours, oracle = middle.pop("ours"), middle.pop("oracle")
    return Gate(PART, metric, ours, gate, passes(ours, oracle), middle, oracle, note)


def _filter_figures(seed: int, rows: int) -> dict[str, tuple[float, float]]:
    """Accuracy and Brier score of each filter on one seed."""
    train, test = regime_market(TRAIN + seed, rows), regime_market(TEST + seed, 2 * rows)
    ours = fit_hmm(train.returns[:, None], 3, np.random.default_rng(seed))
    share = np.bincount(train.regime, minlength=3) / rows
    answers = {
        "ours": _filtered(ours, test.returns),
        "hmmlearn EM": _filtered(_judge_hmm(train.returns, seed), test.returns),
        "majority": np.tile(share, (2 * rows, 1)),
        "oracle": test.oracle(),
    }
    return {name: _score(known, test) for name, known in answers.items()}


def _score(known: Floats, market: RegimeMarket) -> tuple[float, float]:
    right = float((known.argmax(1) == market.regime).mean())
    return right, float(((known - np.eye(3)[market.regime]) ** 2).sum(1).mean())


def _filtered(model: RegimeHMM, values: Floats) -> Floats:
    rows = torch.as_tensor(values)[None, :, None]
    with torch.no_grad():
        return np.asarray(model(rows, torch.ones_like(rows, dtype=torch.bool)).probabilities[0].numpy())


def _judge_hmm(values: Floats, seed: int) -> RegimeHMM:
    """hmmlearn's EM, the best of four starts; its parameters run through a filter, since it only smooths."""
    import warnings

    from hmmlearn.hmm import GaussianHMM as Judge

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tried = [Judge(3, n_iter=100, random_state=10 * seed + k).fit(values[:, None]) for k in range(4)]
    best: Any = max(tried, key=lambda model: model.score(values[:, None]))
    sd = np.sqrt(best.covars_[:, 0, 0])
    order = sd.argsort()
    chain = np.ascontiguousarray(best.transmat_[order][:, order])
    initial, moves = torch.as_tensor(best.startprob_[order]), torch.as_tensor(chain)
    return RegimeHMM.of(initial, moves, torch.as_tensor(best.means_[order]), torch.as_tensor(sd[order, None]))


# Breaks


@dataclass(frozen=True, slots=True)
class _Alarms:
    """delays [K] in rows to the alarm, infinite where there was none within MIN_GAP; false alarms, and rows judged."""

    delays: Floats
    false: int
    rows: int

    @property
    def median(self) -> float:
        """Over all breaks, the missed ones among them."""
        return float(np.median(self.delays))

    @property
    def rate(self) -> float:
        """False alarms in 1,000 rows."""
        return 1000.0 * self.false / self.rows

    def text(self) -> str:
        found = self.delays[np.isfinite(self.delays)]
        missed = 1 - len(found) / len(self.delays)
        late = np.quantile(found, 0.9) if len(found) else np.inf
        return f"median {self.median:.3g}, p90 {late:.3g}, missed {missed:.1%}, false {self.rate:.2f}/1000"


def _breaks(quick: bool) -> Sequence[Gate]:
    seeds, rows = (6, 8000) if quick else (12, 20_000)
    alarm = BreakAlarm.fit(break_market(TRAIN, 20_000).values[:, None], np.random.default_rng(0))
    markets = [break_market(TEST + seed, rows) for seed in range(seeds)]
    scores = [alarm.scores(market.values[:, None]) for market in markets]
    paths = {
        "ours": [alarm_path(score, LEARNED) for score in scores],
        "BOCPD": _run_lengths(markets, BOCPD()),
        "oracle": [alarm_path(m.oracle(RECENT, levels=(1,)), LEARNED) for m in markets],
    }
    found = {name: _judge(path, markets) for name, path in paths.items()}
    each = [_judge([path], [m]).median for path, m in zip(paths["ours"], markets, strict=True)]
    note = (
        f"sd 1 to 2, {len(found['ours'].delays)} breaks in {seeds} x {rows} rows; ours {found['ours'].text()}, by seed "
        f"{_spread(each)}; BOCPD {found['BOCPD'].text()}; oracle {found['oracle'].text()}; "
        f"{_stricter(scores, markets)}; PELT, which sees all rows: F1 within 15 rows {_pelt(markets, quick):.2f}"
    )
    ours, judge, oracle = found["ours"], found["BOCPD"], found["oracle"]
    delay = ours.median <= 5
    rare = ours.rate <= 1
    return [
        Gate(PART, "break delay, rows", ours.median, "<= 5", delay, {"BOCPD": judge.median}, oracle.median, note),
        Gate(PART, "false alarms per 1000", ours.rate, "<= 1", rare, {"BOCPD": judge.rate}, oracle.rate),
    ]


def _shifts(quick: bool) -> Sequence[Gate]:
    """Mean shifts of one sd in heavy-tailed noise, where no level is learned: BOCPD with and without heavy tails."""
    seeds, rows = (4, 6000) if quick else (8, 12_000)
    markets = [break_market(TEST + seed, rows, "mean") for seed in range(seeds)]
    ours = _judge(_run_lengths(markets, BOCPD(freedom=5.0)), markets)
    normal = _judge(_run_lengths(markets, BOCPD()), markets)
    oracle = _judge([alarm_path(market.oracle(RECENT), RUN_LENGTH) for market in markets], markets)
    note = (
        f"{len(ours.delays)} shifts of 1 sd in Student-t noise, {seeds} x {rows} rows; ours (5 degrees) {ours.text()}; "
        f"normal runs {normal.text()}; oracle {oracle.text()}"
    )
    passed = ours.median <= 10 and ours.rate <= 2
    asked = "<= 10 at <= 2 false in 1000"
    return [
        Gate(PART, "mean shift delay", ours.median, asked, passed, {"normal BOCPD": normal.median}, oracle.median, note)
    ]


def _stricter(scores: Sequence[Floats], markets: Sequence[BreakMarket]) -> str:
    """What a later, surer alarm would give."""
    rules = [Hysteresis(on, LEARNED.off, LEARNED.calm) for on in (0.6, 0.9, 0.99)]
    found = [_judge([alarm_path(score, rule) for score in scores], markets) for rule in rules]
    return "; ".join(f"ours at {rule.on:g}: {each.text()}" for rule, each in zip(rules, found, strict=True))


def _run_lengths(markets: Sequence[BreakMarket], detector: BOCPD) -> list[npt.NDArray[np.bool_]]:
    """The alarm of BOCPD: a break in the last 20 rows is likelier than not."""
    rows = torch.as_tensor(np.stack([market.values for market in markets]))
    scores = detector.recent(rows, torch.ones_like(rows, dtype=torch.bool), RECENT).numpy()
    return [alarm_path(row, RUN_LENGTH) for row in scores]


def _judge(paths: Sequence[npt.NDArray[np.bool_]], markets: Sequence[BreakMarket]) -> _Alarms:
    """Delays after breaks to level 1; 0 is its first row. What rises within MIN_GAP rows of any break is not false."""
    delays, false = [], 0
    for path, market in zip(paths, markets, strict=True):
        rises = np.flatnonzero(path & ~np.concatenate([[False], path[:-1]]))
        since = rises[:, None] - market.breaks
        near = (since >= 0) & (since < MIN_GAP)
        first = np.where(near, since, np.inf).min(axis=0, initial=np.inf)
        delays.append(first[market.level[market.breaks] == 1])
        false += int((~near.any(axis=1)).sum())
    return _Alarms(np.concatenate(delays), false, sum(len(path) for path in paths))


def _pelt(markets: Sequence[BreakMarket], quick: bool) -> float:
    """F1 of ruptures' PELT (normal cost, penalty 12) against the true breaks of short pieces, hits within 15 rows."""
    import warnings

    import ruptures

    hits = found = true = 0
    for market in markets[: 2 if quick else 8]:
        rows = min(3000, len(market.values))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            places = ruptures.Pelt(model="normal", min_size=20, jump=5).fit_predict(
                market.values[:rows, None], pen=12.0
            )
        breaks = np.asarray(places[:-1])
        truth = market.breaks[market.breaks < rows]
        hits += int(sum((np.abs(breaks - row) <= 15).any() for row in truth))
        found, true = found + len(breaks), true + len(truth)
    return 2 * hits / max(found + true, 1)


# Order flow


def _hawkes(quick: bool) -> Sequence[Gate]:
    seeds, rows = (3 if quick else 10), 12_600
    errors, losses, truths = [], [], []
    for seed in range(seeds):
        flow = hawkes_flow(TRAIN + seed, rows)
        law = fit_hawkes(flow)
        errors.append(float(np.abs(np.asarray(law.excitation) - np.asarray(TRUTH.excitation)).max()))
        losses.append(-law.log_likelihood(flow) / rows)
        truths.append(-TRUTH.log_likelihood(flow) / rows)
    excess = float(np.max(np.subtract(losses, truths)))
    error = float(np.median(errors))
    return [
        Gate(
            PART, "Hawkes |A error|", error, "median <= .05", error <= 0.05, oracle=0.0,
            note=f"largest of four entries; {_spread(errors)}, worst {max(errors):.3f}; {rows} events each",
        ),
        Gate(
            PART, "Hawkes NLL", float(np.median(losses)), "<= truth + .001 on every seed", excess <= 0.001,
            oracle=float(np.median(truths)), note=f"nats an event; worst excess over the truth {excess:.5f}",
        ),
    ]  # fmt: skip


def _next_event(quick: bool) -> Sequence[Gate]:
    seeds, rows = (1, 40_000) if quick else (5, 60_000)
    table = [_next_event_figures(seed, rows) for seed in range(seeds)]
    figures = {name: [row[name] for row in table] for name in table[0]}
    shares = [(ours - 0.5) / (best - 0.5) for ours, best in zip(figures["ours"], figures["oracle"], strict=True)]
    share = float(np.median(shares))
    middle = {name: float(np.median(values)) for name, values in figures.items()}
    ours, oracle = middle.pop("ours"), middle.pop("oracle")
    note = f"AUC ours {ours:.4f}, oracle {oracle:.4f}; {_spread(shares)}; learned from {rows} events, judged on {rows}"
    baselines = {name: (value - 0.5) / (oracle - 0.5) for name, value in middle.items()}
    return [Gate(PART, "next event, share of the edge", share, ">= .90", share >= 0.9, baselines, 1.0, note)]


def _next_event_figures(seed: int, rows: int) -> dict[str, float]:
    """AUC of each forecaster on one seed."""
    from sklearn.metrics import roc_auc_score

    train, test = hawkes_flow(TRAIN + 100 + seed, rows), hawkes_flow(TEST + 100 + seed, rows)
    answers: dict[str, Floats] = {name: forecast(train, test) for name, forecast in FORECASTERS.items()}
    answers |= {"ours": _learned(train, test, seed), "oracle": TRUTH.buy_probability(test)}
    return {name: float(roc_auc_score(test.types, answer)) for name, answer in answers.items()}


def _learned(train: HawkesFlow, test: HawkesFlow, seed: int) -> Floats:
    return learn(train, seed).probability(test)


CHECKS: tuple[Check, ...] = (
    Check("regime.filter", _filter),
    Check("regime.breaks", _breaks),
    Check("regime.shifts", _shifts),
    Check("regime.hawkes", _hawkes),
    Check("regime.next-event", _next_event),
)
"""About half a minute of one quiet core with `--quick`, two minutes in full."""
