"""Black swans: does value at risk cover, are the tails those that were planted, are oddities and cascades foreseen?

Every market but the candles has a known truth, which is the oracle; every baseline sees the same data in the same run.
A right forecast is rejected by a 5 % test one time in twenty: what is asked is that no more are rejected than that
allows. Candles are read from `shared/data` beside the checkout; where they are not, the check says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from cryptoai.black_swan.anomaly import Mahalanobis
from cryptoai.black_swan.backtests import christoffersen, independence, kupiec, shortfall_test
from cryptoai.black_swan.cascade import CascadeModel
from cryptoai.black_swan.conditional import SIDES, ConditionalTail, Schedule, walk_forward
from cryptoai.black_swan.conformal import adaptive, tracked, worst_window
from cryptoai.black_swan.detector import auroc, choose_detector
from cryptoai.black_swan.evt import fit_tail, scan_thresholds
from cryptoai.black_swan.garch import fit_garch
from cryptoai.black_swan.guard import Forecasts, RiskModel
from cryptoai.black_swan.scale import candle_drivers
from cryptoai.black_swan.vae import Vae
from cryptoai.data_universe.schema import WIDTH, index
from cryptoai.testing.gates.gate import Check, Gate
from cryptoai.testing.market.anomalies import planted_anomalies
from cryptoai.testing.market.cascade import CascadeMarket, cascade_market
from cryptoai.testing.market.tails import DEGREES, breaking_returns, garch_market, pareto_losses

__all__ = ["CHECKS"]

PART = "tails"
CANDLES = Path(__file__).resolve().parents[4] / "shared" / "data"
LEVELS = (0.95, 0.99, 0.995)
FITTED, JUDGED = 4000, 3000
SEED = 1
"""The market whose p values are shown one by one."""

_Figures = dict[str, float]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def _value_at_risk(quick: bool) -> list[Gate]:
    seeds = range(SEED, SEED + (8 if quick else 60))
    hits = [_breaches(seed) for seed in seeds]
    gates = []
    for name, test in (("Kupiec", kupiec), ("Christoffersen", christoffersen)):
        rejected = {who: [_share([test(run[who, p], p).p_value for run in hits]) for p in LEVELS] for who in _WHO}
        gates.append(_shares(f"VaR rejected by {name}", rejected, len(seeds)))
    least = {
        who: min(min(kupiec(hits[0][who, p], p).p_value, christoffersen(hits[0][who, p], p).p_value) for p in LEVELS)
        for who in _WHO
    }
    note = f"smallest p of both tests at 95, 99 and 99.5 %, {JUDGED:,} steps out of sample, seed {SEED}"
    gates.append(_gate("VaR, smallest p value", least, "> .05", least["ours"] > 0.05, note))
    return gates


_WHO = ("ours", "garch-normal", "historical", "normal", "oracle")


def _breaches(seed: int) -> Mapping[tuple[str, float], Bools]:
    """Who was breached when, in the last 3,000 of 7,000 returns; everything is fitted on the first 4,000."""
    market = garch_market(seed, FITTED + JUDGED)
    known, losses = market.returns[:FITTED], -market.returns[FITTED:]
    model, plain = ConditionalTail.fit(known), fit_garch(known, normal=True)
    wild = plain.deviations(market.returns)[FITTED:-1]
    found = {}
    for p in LEVELS:
        z = float(stats.norm.ppf(p))
        found["ours", p] = losses > model.risk(market.returns, p)[0][FITTED:-1]
        found["garch-normal", p] = losses > wild * z - plain.mean
        found["historical", p] = losses > np.quantile(-known, p)
        found["normal", p] = losses > known.std() * z - known.mean()
        found["oracle", p] = losses > market.value_at_risk(p)[FITTED:]
    return found


def _shares(metric: str, rejected: Mapping[str, Sequence[float]], runs: int) -> Gate:
    """Share of the runs that a test rejects at 5 %, mean over levels; each level within the 99 % bound of chance."""
    most = float(stats.binom.ppf(0.99, runs, 0.05)) / runs
    words = ", ".join(f"{p:.1%} {share:.3f}" for p, share in zip(LEVELS, rejected["ours"], strict=True))
    mean = {who: float(np.mean(shares)) for who, shares in rejected.items()}
    passed = max(rejected["ours"]) <= most
    return _gate(metric, mean, f"each level <= {most:.3f}, what 5 % allows {runs} runs", passed, f"ours: {words}")


def _shortfall(quick: bool) -> list[Gate]:
    """One-sided: only losses beyond VaR that are worse than their forecast reject it."""
    seeds = range(SEED, SEED + (8 if quick else 60))
    runs = [_too_small(seed) for seed in seeds]
    share = {who: _share([run[who] for run in runs]) for who in runs[0]}
    passed = share["ours"] <= share["oracle"] + 0.05
    note = f"{len(runs)} markets, bootstrap of McNeil and Frey; garch-t is the market's own family, fitted"
    return [_gate("97.5 % shortfall rejected", share, "<= oracle + .05 on the same markets", passed, note)]


def _too_small(seed: int) -> _Figures:
    """p values of everybody's expected shortfall in the last 3,000 returns."""
    market, p = garch_market(seed, FITTED + JUDGED), 0.975
    known, losses = market.returns[:FITTED], -market.returns[FITTED:]
    model, plain = ConditionalTail.fit(known), fit_garch(known, normal=True)
    z, deviation = float(stats.norm.ppf(p)), model.deviations(market.returns)[FITTED:-1]
    tail, wild = model.long, plain.deviations(market.returns)[FITTED:-1]
    laws = {
        "ours": (deviation, (tail.var(p), tail.es(p)), model.garch.mean),
        "garch-normal": (wild, (z, float(stats.norm.pdf(z)) / (1 - p)), plain.mean),
        "garch-t": (deviation, _student(p, model.garch.nu), model.garch.mean),
        "oracle": (market.deviations[FITTED:], _student(p, DEGREES), 0.0),
    }
    found = {}
    for who, (unit, (var, es), mean) in laws.items():
        test = shortfall_test(losses, unit * var - mean, unit * es - mean, unit, np.random.default_rng(seed))
        found[who] = test.p_value
    return found


def _student(p: float, nu: float) -> tuple[float, float]:
    """VaR and ES of a Student-t variable with variance 1."""
    q = float(stats.t.ppf(p, nu))
    unit = float(np.sqrt((nu - 2) / nu))
    return q * unit, float(stats.t.pdf(q, nu)) / (1 - p) * (nu + q * q) / (nu - 1) * unit


def _shape(quick: bool) -> list[Gate]:
    """Exact generalised Pareto losses, 250 excesses over a threshold that is a quantile."""
    runs, xi = (100 if quick else 400), 0.3
    tails = [fit_tail(pareto_losses(seed, 2500, xi), thresholds=(0.9,)) for seed in range(runs)]
    bias = float(np.mean([tail.xi for tail in tails])) - xi
    covered = float(np.mean([low <= xi <= high for low, high in (tail.xi_interval() for tail in tails)]))
    scan = scan_thresholds(np.abs(garch_market(SEED, 8000).returns))
    low, high = scan.band(0.99)
    note = (
        f"{runs} samples; on the GARCH market VaR99 is {scan.chosen.var(0.99):.2f}, stability band {low:.2f}-{high:.2f}"
    )
    return [
        Gate(PART, "shape, bias at xi = .3", bias, "|bias| <= .03", abs(bias) <= 0.03, oracle=0.0, note=note),
        Gate(
            PART, "shape, 95 % interval covers", covered, ">= .90", covered >= 0.90, oracle=0.95, note=f"{runs} samples"
        ),
    ]


def _conformal(quick: bool) -> list[Gate]:
    """90 % intervals while the volatility jumps 2.5 and 4 times."""
    seeds = range(2 if quick else 10)
    coverage: dict[float, float] = {}
    worst: dict[float, float] = {}
    for gamma in (0.0, 0.01, 0.03):
        covered = [(s <= adaptive(s, 0.9, gamma))[500:] for s in (np.abs(breaking_returns(seed)) for seed in seeds)]
        coverage[gamma] = float(np.mean([run.mean() for run in covered]))
        worst[gamma] = float(np.mean([worst_window(run) for run in covered]))
    off = abs(coverage[0.03] - 0.9)
    note = f"mean over {len(seeds)} markets; worst 250 steps in a row: " + ", ".join(
        f"gamma {gamma:g} {share:.2f}" for gamma, share in worst.items()
    )
    return [
        Gate(PART, "coverage of 90 % through breaks", coverage[0.03], "within .01", off <= 0.01,
             {"rolling window": coverage[0.0], "gamma .01": coverage[0.01]}, 0.9, note),
        Gate(PART, "worst 250 steps of it", worst[0.03], ">= .82", worst[0.03] >= 0.82,
             {"rolling window": worst[0.0], "gamma .01": worst[0.01]}, 0.9, note),
    ]  # fmt: skip


def _anomaly(quick: bool) -> list[Gate]:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest

    gates = []
    for seed in range(SEED, SEED + (1 if quick else 3)):
        market = planted_anomalies(seed)
        known, shown = np.ones(market.train.shape, bool), np.ones(market.test.shape, bool)
        choice = choose_detector(market.train, known, torch.Generator().manual_seed(seed))
        network = Vae.fit(market.train, known, torch.Generator().manual_seed(seed))
        scores = {
            "ours": choice.detector.score(market.test, shown),
            "vae": network.score(market.test, shown, raw=True),
            "mahalanobis": Mahalanobis.fit(market.train, known).score(market.test, shown),
            "isolation forest": -IsolationForest(random_state=seed).fit(market.train).score_samples(market.test),
        }
        for parts in (10, 30):
            pca = PCA(parts, random_state=seed).fit(market.train)
            scores[f"pca {parts}"] = ((market.test - pca.inverse_transform(pca.transform(market.test))) ** 2).sum(1)
        found = {who: auroc(score[market.odd], score[~market.odd]) for who, score in scores.items()}
        ships = type(choice.detector).__name__
        note = f"{ships} ships: {choice.mahalanobis:.3f} when fitted, the autoencoder {choice.vae:.3f}; seed {seed}"
        passed = found["ours"] >= found["mahalanobis"] - 0.01
        gates.append(_gate("anomaly AUROC", found, ">= mahalanobis - .01", passed, note))
    return gates


def _cascade(quick: bool) -> list[Gate]:
    seeds = range(SEED, SEED + (2 if quick else 6))
    runs = [_judged(cascade_market(seed, 8000), cascade_market(seed + 100, 20_000)) for seed in seeds]
    note = f"mean over {len(runs)} markets of 8,000 states to learn, 20,000 to judge; base rate {runs[0].rate:.3f}"
    area, precision, brier = (_mean([run.figures[k] for run in runs]) for k in range(3))
    gap = float(np.mean([run.gap for run in runs]))
    precise = _wins(precision) and precision["ours"] >= 0.5
    reliable = "mean |forecast - rate| over tenths of the states"
    return [
        _gate("cascade average precision", precision, ">= .50, above all", precise, note),
        _gate("cascade AUROC", area, "above all", _wins(area), note),
        _gate("cascade Brier score", brier, "<= .079", brier["ours"] <= 0.079, note),
        Gate(PART, "cascade reliability", gap, "<= .02", gap <= 0.02, oracle=0.0, note=reliable),
    ]


def _wins(figures: Mapping[str, float]) -> bool:
    return all(figures["ours"] > value for who, value in figures.items() if who not in ("ours", "oracle"))


@dataclass(frozen=True, slots=True)
class _Judged:
    """figures: AUROC, average precision, Brier score of everybody; rate of cascades; gap: our error of calibration."""

    figures: tuple[_Figures, _Figures, _Figures]
    rate: float
    gap: float


def _mean(runs: Sequence[_Figures]) -> _Figures:
    return {who: float(np.mean([run[who] for run in runs])) for who in runs[0]}


def _judged(train: CascadeMarket, test: CascadeMarket) -> _Judged:
    import lightgbm
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score

    seen, asked, wild = np.log(train.observed), np.log(test.observed), [4]
    logit = LogisticRegression(max_iter=500).fit(seen, train.cascade)
    only = LogisticRegression().fit(seen[:, wild], train.cascade)
    trees = lightgbm.train(
        {"objective": "binary", "learning_rate": 0.05, "num_leaves": 15, "num_threads": 1, "verbose": -1, "seed": 1},
        lightgbm.Dataset(seen, train.cascade.astype(float)),
        num_boost_round=150,
    )
    forecasts = {
        "ours": CascadeModel.fit(train.observed, train.cascade).probability(test.observed),
        "lightgbm": np.asarray(trees.predict(asked)),
        "logit": logit.predict_proba(asked)[:, 1],
        "volatility": only.predict_proba(asked[:, wild])[:, 1],
        "oracle": test.oracle(),
    }
    y = test.cascade
    area = {who: auroc(p[y], p[~y]) for who, p in forecasts.items()}
    precision = {who: float(average_precision_score(y, p)) for who, p in forecasts.items()}
    brier = {who: float(((p - y) ** 2).mean()) for who, p in forecasts.items()}
    tenths = np.array_split(np.argsort(forecasts["ours"]), 10)
    gap = float(np.mean([abs(forecasts["ours"][rows].mean() - y[rows].mean()) for rows in tenths]))
    return _Judged((area, precision, brier), float(y.mean()), gap)


@dataclass(frozen=True, slots=True)
class Candles:
    """One market by the bar; schedule of refits."""

    name: str
    close: Floats
    high: Floats
    low: Floats
    times: npt.NDArray[np.int64]
    schedule: Schedule

    @property
    def returns(self) -> Floats:
        """Log returns of the closes, [N - 1]."""
        return np.asarray(np.diff(np.log(self.close)))

    def drivers(self) -> Floats:
        """Known before each return, [N - 1, K]."""
        return candle_drivers(self.returns, self.high[1:], self.low[1:], self.times[1:])[:-1]


_HOURS, _MINUTES = Schedule(2000, 250, 4000), Schedule(2000, 1000, 8000)
_FILES = (
    ("perp_candles/usdm_1h_futures_2023-01_2024-05.parquet", ("BTC", "ETH"), _HOURS, True),
    ("crash_2020_2022/usdm_perp_1h_2020-01_2022-06_covid_may21_luna.parquet", ("BTC", "ETH"), _HOURS, False),
    ("perp_candles/BTC_USDT_USDT_perp_5m_2024-01_2024-05.parquet", ("BTC",), _MINUTES, False),
    ("perp_candles/ETH_USDT_USDT_perp_5m_2024-01_2024-05.parquet", ("ETH",), _MINUTES, False),
    ("crash_2020_2022/spot_btc_5m_2021-11_2022-05_luna.parquet", ("BTC",), _MINUTES, False),
)


def _markets(quick: bool) -> Iterator[Candles]:
    """Those whose file is there; quick: the hours of 2023-24 alone."""
    import polars as pl

    for file, coins, schedule, first in _FILES:
        if (quick and not first) or not (CANDLES / file).exists():
            continue
        frame = pl.read_parquet(CANDLES / file)
        for coin in coins:
            rows = frame.filter(pl.col("symbol").str.starts_with(coin + "/")) if "symbol" in frame.columns else frame
            close, high, low = (rows[name].to_numpy().astype(np.float64) for name in ("close", "high", "low"))
            times = rows["date"].dt.epoch("ns").to_numpy()
            yield Candles(f"{coin} {Path(file).stem}", close, high, low, times, schedule)


def _real(quick: bool) -> list[Gate]:
    markets = list(_markets(quick))
    if not markets:
        words = "left out: no candles in shared/data beside the checkout"
        return [Gate(PART, "real VaR", float("nan"), "candles are there", True, note=words)]
    hits = [run for market in markets for run in _walked(market)]
    return [*_covered(hits), _lagging(markets)]


def _liquidations(_: bool) -> list[Gate]:
    """Do real liquidations come in chains? Those of one venue, against the same number at random times."""
    import polars as pl

    file = CANDLES / "liquidations" / "liquidations_2023-02_2023-05.csv"
    metric = "real liquidations within 60 s of one before"
    if not file.exists():
        words = "left out: no liquidations in shared/data beside the checkout"
        return [Gate(PART, metric, float("nan"), "they are there", True, note=words)]
    frame = pl.read_csv(file)
    seconds = np.sort(frame["time"].str.to_datetime(time_zone="UTC").dt.epoch("ms").to_numpy() / 1000.0)
    chained = float((np.diff(seconds) <= 60.0).mean())
    by_chance = 1.0 - float(np.exp(-60.0 * len(seconds) / (seconds[-1] - seconds[0])))
    notional = frame["liquidated_ntl_pos"].to_numpy()
    note = (
        f"{len(seconds)}, median {np.median(notional):,.0f}, largest {notional.max():,.0f} USD; no depth was recorded"
    )
    return [_gate(metric, {"ours": chained, "at random": by_chance}, "more than at random", chained > by_chance, note)]


def _walked(market: Candles) -> Iterator[dict[tuple[str, float], Bools]]:
    """For each side, who was breached when, from the first forecast on."""
    returns, plan = market.returns, market.schedule
    alone, filtered = walk_forward(returns, LEVELS, plan), walk_forward(returns, LEVELS, plan, market.drivers())
    normal = _garch_normal(returns, plan)
    for side in SIDES:
        losses = -returns if side == "long" else returns
        hits: dict[tuple[str, float], Bools] = {}
        for p in LEVELS:
            limits = {
                "ours": tracked(losses, filtered[side, p], p),
                "garch-evt": alone[side, p],
                "garch-normal": normal * float(stats.norm.ppf(p)),
                "historical": _historical(losses, p, plan),
            }
            hits |= {(who, p): (losses > limit)[plan.start :] for who, limit in limits.items()}
        yield hits


def _garch_normal(returns: Floats, plan: Schedule) -> Floats:
    deviations = np.full(len(returns), np.nan)
    for now in range(plan.start, len(returns), plan.every):
        first, stop = max(0, now - plan.window), min(now + plan.every, len(returns))
        garch = fit_garch(returns[first:now], normal=True)
        deviations[now:stop] = garch.deviations(returns[first:stop])[now - first : stop - first]
    return deviations


def _historical(losses: Floats, p: float, plan: Schedule) -> Floats:
    limits = np.full(len(losses), np.nan)
    for now in range(plan.start, len(losses), plan.every):
        limits[now : now + plan.every] = np.quantile(losses[max(0, now - plan.window) : now], p)
    return limits


def _covered(hits: Sequence[Mapping[tuple[str, float], Bools]]) -> list[Gate]:
    who = ("ours", "garch-evt", "garch-normal", "historical")
    least = {w: min(kupiec(run[w, p], p).p_value for run in hits for p in LEVELS) for w in who}
    steps = sum(len(run["ours", 0.99]) for run in hits)
    rates = ", ".join(f"{p:.1%} {np.mean(np.concatenate([run['ours', p] for run in hits])):.4f}" for p in LEVELS)
    dependent = sum(independence(run["ours", p]).p_value < 0.05 for run in hits for p in LEVELS)
    note = (
        f"{len(hits)} walks, {steps:,} forecasts, long and short; breaches {rates}; over their whole length "
        f"{dependent} of {len(hits) * len(LEVELS)} reject that breaches are independent"
    )
    windows = {p: [w for run in hits for w in _windows(run, p)] for p in LEVELS}
    rejected = {w: [_share([christoffersen(x[w], p).p_value for x in windows[p]]) for p in LEVELS] for w in who}
    return [
        _gate("real VaR, smallest Kupiec p", least, "> .05 on every walk", least["ours"] > 0.05, note),
        _shares("real VaR, 3,000 steps rejected by Christoffersen", rejected, len(windows[0.99])),
    ]


def _windows(run: Mapping[tuple[str, float], Bools], p: float) -> Iterator[dict[str, Bools]]:
    for first in range(0, len(run["ours", p]) - JUDGED + 1, JUDGED):
        yield {who: hit[first : first + JUDGED] for (who, level), hit in run.items() if level == p}


def _lagging(markets: Sequence[Candles]) -> Gate:
    """The bundle's own tail behind a forecast whose deviation never moves, fitted once: the worst that can be asked."""
    p_values: dict[str, list[float]] = {"ours": [], "without the scale": []}
    worst: dict[str, float] = dict.fromkeys(p_values, 0.0)
    for market in markets:
        known = _states(market)
        surprises = market.returns / market.returns[:FITTED].std()
        learned = Forecasts(known.values[:FITTED], known.mask[:FITTED], known.sd[:FITTED])
        for who, past, all_of_it in (("ours", learned, known), ("without the scale", None, None)):
            model = RiskModel.fit(learned.values, learned.mask, surprises[:FITTED], forecasts=past)
            hit = (model.losses(surprises, all_of_it) > model.tail.var(0.99))[FITTED:]
            windows = [hit[first : first + 1000] for first in range(0, len(hit) - 999, 1000)]
            p_values[who] += [kupiec(window, 0.99).p_value for window in windows]
            worst[who] = max(worst[who], *(float(window.mean()) for window in windows))
    share = {who: _share(values) for who, values in p_values.items()}
    words = ", ".join(f"{who} {rate:.1%}" for who, rate in worst.items())
    note = f"99 % VaR fitted once on {FITTED:,} bars, {len(p_values['ours'])} windows; most breaches in one: {words}"
    passed = share["ours"] <= 0.5 * share["without the scale"]
    return _gate("real, stale forecast: 1,000 bars rejected by Kupiec", share, "<= half of without", passed, note)


def _states(market: Candles) -> Forecasts:
    """Bars as states: what was realised over the last 5 and 30 of them."""
    returns = market.returns / market.returns[:FITTED].std()
    values, mask = np.zeros((len(returns), WIDTH), np.float32), np.zeros((len(returns), WIDTH), bool)
    squares = np.concatenate([np.zeros(31), np.cumsum(returns[:-1] ** 2)])
    for name, bars in (("realised_volatility_5s", 5), ("realised_volatility_30s", 30)):
        column = index(name)
        values[:, column] = np.sqrt(np.maximum(squares[30:] - squares[30 - bars : -bars], 0.0))[: len(returns)]
        mask[:, column] = True
    return Forecasts(values, mask, np.ones(len(returns)))


def _share(p_values: Sequence[float]) -> float:
    return float(np.mean(np.asarray(p_values) < 0.05))


def _gate(metric: str, figures: Mapping[str, float], words: str, passed: bool, note: str) -> Gate:
    others = {who: value for who, value in figures.items() if who not in ("ours", "oracle")}
    return Gate(PART, metric, figures["ours"], words, bool(passed), others, figures.get("oracle"), note)


CHECKS: tuple[Check, ...] = (
    Check("tails.value_at_risk", _value_at_risk),
    Check("tails.shortfall", _shortfall),
    Check("tails.shape", _shape),
    Check("tails.conformal", _conformal),
    Check("tails.anomaly", _anomaly),
    Check("tails.cascade", _cascade),
    Check("tails.candles", _real),
    Check("tails.liquidations", _liquidations),
)
