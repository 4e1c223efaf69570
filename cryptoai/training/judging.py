"""Two bundles on the same rows: what each forecast and earned there, how sure the difference is, and the verdict.

Called by `challenge`. It draws from the generator that it is handed only, and knows no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cryptoai.backtesting.metrics import sharpe
from cryptoai.backtesting.significance import Interval, block_bootstrap, deflated_sharpe
from cryptoai.training.champion import Nets
from cryptoai.training.dataset import Corpus, Part
from cryptoai.training.evidence import View, live

__all__ = ["Judged", "Rule", "Series", "judge", "series"]

Floats = NDArray[np.float64]

_COVERED = 0.9


@dataclass(frozen=True, slots=True)
class Series:
    """One bundle on one window, an entry a decision.

    net_bps: result of the decision net of cost, averaged over the phases; log_score: log density of the next log
    return (not in volatility units: bundles differ in these), likewise; covered: share of the returns inside the
    central 90 % of their forecast.
    """

    net_bps: Floats
    log_score: Floats
    covered: float


@dataclass(frozen=True, slots=True)
class Rule:
    """When a challenger takes the champion's place: where it is shown to be no worse, in forecast and in result.

    Both margins are of the 90 % interval's lower end: a challenger that cannot be told from the champion needs
    enough decisions for a narrow interval. Coverage is that of the central 90 % of its forecasts.
    """

    decisions: int = 100
    log_score_margin: float = 0.01
    """Nats a decision."""
    net_margin: float = 0.05
    """Standard deviations of the champion's result a decision, or the challenger's where the champion never trades."""
    coverage_margin: float = 0.05

    def __str__(self) -> str:
        return (
            f"promote if, over at least {self.decisions} decisions that neither bundle was trained on, the 90 % "
            f"block-bootstrap interval of challenger minus champion lies above -{self.log_score_margin} nats in log "
            f"score and above -{self.net_margin} standard deviations in net result, and the challenger's central 90 % "
            f"covers within {self.coverage_margin} of that"
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """The evidence of a comparison; `reasons` say why the champion stays, and are empty where it does not."""

    decisions: int
    trials: int
    figures: dict[str, Any]
    rule: str
    reasons: tuple[str, ...]

    @property
    def promote(self) -> bool:
        return not self.reasons

    @property
    def verdict(self) -> str:
        return "promote" if self.promote else "keep champion"

    def evidence(self) -> dict[str, Any]:
        """As JSON."""
        head = {"decisions": self.decisions, "trials": self.trials, "rule": self.rule}
        return head | self.figures | {"reasons": list(self.reasons), "verdict": self.verdict}


@torch.no_grad()
def series(nets: Nets, corpus: Corpus, context: int, cost_bps: float) -> Series:
    """`nets` on the rows of `corpus`, which must be in their own volatility units and all of the test part."""
    view = View.of(nets.model, corpus, Part.TEST, context)
    lived = live(nets.policy, view, corpus, cost_bps * 1e-4 / corpus.return_scale)
    rounds, stride = lived.net_bps.shape
    mixture = view.forecast(nets.model)
    score = mixture.log_prob(view.returns)[: rounds * stride, 0].double().numpy() - np.log(corpus.return_scale)
    off = (mixture.cdf(view.returns)[: rounds * stride, 0] - 0.5).abs().double().numpy()
    covered = float(np.mean(off <= _COVERED / 2)) if rounds else 0.0
    return Series(lived.net_bps.mean(1), score.reshape(rounds, stride).mean(1), covered)


def judge(
    champion: Sequence[Series], challenger: Sequence[Series], trials: int, rule: Rule, draws: np.random.Generator
) -> Judged:
    """Window by window side by side; `trials`: trainings whose results were compared, this one included."""
    old, new = _whole(champion), _whole(challenger)
    decisions = len(old.net_bps)
    if decisions < max(rule.decisions, 2):
        few = f"{decisions} decisions to judge by, {rule.decisions} are the least"
        return Judged(decisions, trials, {}, str(rule), (few,))
    spread = float(old.net_bps.std(ddof=1)) or float(new.net_bps.std(ddof=1)) or 1.0
    score = _difference(new.log_score - old.log_score, draws)
    net = _difference(new.net_bps - old.net_bps, draws)
    figures = {
        "log_score_difference": score,
        "net_bps_difference": net,
        "net_margin_bps": rule.net_margin * spread,
        "champion_figures": _figures(old, champion, trials, draws),
        "challenger_figures": _figures(new, challenger, trials, draws),
    }
    return Judged(decisions, trials, figures, str(rule), tuple(_reasons(figures, new.covered, rule)))


def _reasons(figures: dict[str, Any], covered: float, rule: Rule) -> list[str]:
    score, net, margin = figures["log_score_difference"], figures["net_bps_difference"], figures["net_margin_bps"]
    found = []
    if score["low"] <= -rule.log_score_margin:
        found.append(f"its forecasts may be worse by {-score['low']:.4f} nats")
    if net["low"] <= -margin:
        found.append(f"its result may be worse by {-net['low']:.4f} bps a decision, {margin:.4f} are allowed")
    if abs(covered - _COVERED) > rule.coverage_margin:
        found.append(f"its central 90 % covers {covered:.1%}")
    return found


def _whole(parts: Sequence[Series]) -> Series:
    sizes = [len(part.net_bps) for part in parts]
    covered = float(np.average([part.covered for part in parts], weights=sizes)) if sum(sizes) else 0.0
    return Series(np.concatenate([p.net_bps for p in parts]), np.concatenate([p.log_score for p in parts]), covered)


def _difference(values: Floats, draws: np.random.Generator) -> dict[str, float]:
    found = block_bootstrap(values, _mean, draws)
    return {"mean": _mean(values), **_ends(found)}


def _figures(whole: Series, parts: Sequence[Series], trials: int, draws: np.random.Generator) -> dict[str, Any]:
    """Of one bundle: result with its interval, Sharpe ratio a decision and its deflation, forecast, each window."""
    net = block_bootstrap(whole.net_bps, _mean, draws)
    return {
        "net_bps": {"mean": _mean(whole.net_bps), **_ends(net)},
        "sharpe_per_decision": sharpe(whole.net_bps, 1.0),
        "deflated_sharpe": deflated_sharpe(whole.net_bps, trials),
        "log_score": _mean(whole.log_score),
        "coverage_90": whole.covered,
        "windows": [
            {"decisions": len(p.net_bps), "net_bps": _mean(p.net_bps), "log_score": _mean(p.log_score)} for p in parts
        ],
    }


def _ends(interval: Interval) -> dict[str, float]:
    return {"low": interval.low, "high": interval.high, "level": interval.level}


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0
