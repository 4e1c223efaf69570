"""The verdict on a challenger: promoted only where shown to be no worse, and the evidence says by how much."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cryptoai.training.judging import Rule, Series, judge


def one(rows: int = 400, *, net: float = 0.0, score: float = 0.0, covered: float = 0.9, seed: int = 0) -> Series:
    """Results of sd 1 bp around `net`, log scores of sd .1 around `score`; equal seeds share the luck."""
    draws = np.random.default_rng(seed)
    return Series(net + draws.normal(size=rows), score + 0.1 * draws.normal(size=rows), covered)


def verdict(old: Series, new: Series, **rule: float) -> tuple[str, tuple[str, ...]]:
    found = judge([old], [new], 3, Rule(**rule), np.random.default_rng(1))  # type: ignore[arg-type]
    return found.verdict, found.reasons


def test_the_same_results_are_no_worse() -> None:
    """No difference at all: the interval is a point at zero, inside both margins."""
    assert verdict(one(), one()) == ("promote", ())


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (one(score=-0.02), "forecasts may be worse by 0.02"),
        (one(net=-0.1), "result may be worse by 0.1"),
        (one(covered=0.8), "covers 80.0%"),
        (one(seed=9), "result may be worse"),
    ],
)
def test_what_is_worse_or_cannot_be_told_stays_out(new: Series, why: str) -> None:
    """A worse forecast, a worse result, a forecast that is too sure, and one whose luck is too different to say."""
    said, reasons = verdict(one(), new)
    assert said == "keep champion"
    assert any(why in reason for reason in reasons)


def test_a_better_challenger_is_promoted() -> None:
    """In the same luck a tenth of a basis point and some nats better."""
    assert verdict(one(), one(net=0.1, score=0.02))[0] == "promote"


def test_too_few_decisions_are_no_evidence() -> None:
    """Even a challenger that wins each of them."""
    said, reasons = verdict(one(50), one(50, net=5.0))
    assert said == "keep champion"
    assert reasons == ("50 decisions to judge by, 100 are the least",)


def test_the_evidence_is_whole_and_json() -> None:
    """Both sides on the same windows, intervals of the differences, the rule in words, the number of trials."""
    windows = [one(200), one(300, seed=4)]
    found = judge(windows, [one(200, net=0.2), one(300, seed=4)], 3, Rule(), np.random.default_rng(1)).evidence()
    json.dumps(found, allow_nan=False)
    assert found["decisions"] == 500
    assert found["net_bps_difference"]["mean"] == pytest.approx(0.08)
    assert found["net_bps_difference"]["low"] < 0.08 < found["net_bps_difference"]["high"]
    assert [w["decisions"] for w in found["champion_figures"]["windows"]] == [200, 300]
    assert found["trials"] == 3
    assert "above -0.01 nats" in found["rule"]


def test_more_trials_deflate_the_sharpe_ratio() -> None:
    """The same results after one training and after fifty: the more was tried, the less it says."""
    once, often = (
        judge([one(net=0.15)], [one(net=0.15)], trials, Rule(), np.random.default_rng(1)).evidence()
        for trials in (1, 50)
    )
    assert once["challenger_figures"]["deflated_sharpe"] > 0.95
    assert often["challenger_figures"]["deflated_sharpe"] < once["challenger_figures"]["deflated_sharpe"] - 0.1
