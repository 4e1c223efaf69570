"""Learning on: judged only on rows that nobody was trained on, evidence in the bundle, the link moved by the rule."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cryptoai.core.bundle import verify_bundle
from cryptoai.core.config import Config, build
from cryptoai.core.errors import ConfigError, DataError
from cryptoai.training.bundle import BEST
from cryptoai.training.challenge import Outcome, challenge, folds_of, trials_so_far
from cryptoai.training.champion import Champion
from cryptoai.training.dataset import Dataset
from cryptoai.training.judging import Rule
from cryptoai.training.parallel import Ranks
from cryptoai.training.recipe import Session, train_bundle
from cryptoai.world_model.model import HORIZONS

Market = Callable[..., Dataset]
SECOND = 1_000_000_000

LENIENT = Rule(decisions=2, log_score_margin=9.0, net_margin=99.0, coverage_margin=1.0)
STRICT = Rule(decisions=2, log_score_margin=-9.0)


@pytest.fixture
def config() -> Config:
    """As small as can be: what is tested is who judges whom, not what is learned."""
    return build(
        {
            "data": {"sample_ms": 1000, "embargo_s": 2.0},
            "model": {"hidden_dim": 16, "latent_dim": 16, "layers": 1, "heads": 2, "context": 4},
            "training": {
                "batch_size": 128, "encoder_epochs": 1, "world_model_epochs": 1, "policy_epochs": 1, "sequence": 8,
                "horizon": 3,
            },
        }
    )  # fmt: skip


@pytest.fixture
def champion(market: Market, config: Config, tmp_path: Path) -> Champion:
    first = market(1000).within(_window(0, 299))
    return Champion.read(train_bundle([first], config, tmp_path), config)


def challenged(market: Market, config: Config, champion: Champion, rule: Rule) -> Outcome:
    session = Session(champion.folder.parent, Ranks())
    return challenge([market(1000)], config, champion, session, rule=rule)


def _window(first: int, last: int) -> object:
    from cryptoai.backtesting.windows import Window

    return Window(first * SECOND, last * SECOND)


def test_a_promoted_challenger_carries_parent_windows_and_verdict(
    market: Market, config: Config, champion: Champion
) -> None:
    """The link moves; manifest and evidence name the champion; no judged row was seen by anyone who was judged."""
    outcome = challenged(market, config, champion, LENIENT)
    root = champion.folder.parent
    assert outcome.promoted
    assert (root / BEST).resolve() == outcome.folder.resolve()
    manifest = verify_bundle(outcome.folder)
    assert manifest.parent == champion.revision
    told = json.loads((outcome.folder / "evidence.json").read_bytes())
    found = told["challenge"]
    assert (found["verdict"], found["champion"], told["trials"]) == ("promote", champion.revision, 2)
    for window in found["windows"]:
        assert window["test"][0] > window["train"][1] + found["embargo_ns"]
        assert window["train"][0] > champion.manifest.data_window[1]
    assert found["label_ns"] == max(HORIZONS) * SECOND
    assert not list(root.glob(".work-*"))


def test_a_challenger_that_is_not_shown_to_be_no_worse_leaves_the_champion(
    market: Market, config: Config, champion: Champion
) -> None:
    """Its bundle is there with the evidence against it, and the next attempt counts it as a trial."""
    outcome = challenged(market, config, champion, STRICT)
    assert not outcome.promoted
    assert (champion.folder.parent / BEST).resolve() == champion.folder
    told = json.loads((outcome.folder / "evidence.json").read_bytes())
    assert told["challenge"]["verdict"] == "keep champion"
    assert told["challenge"]["reasons"]
    assert trials_so_far(champion.folder.parent, champion) == 2


def test_data_that_the_champion_was_trained_on_is_no_evidence(
    market: Market, config: Config, champion: Champion
) -> None:
    """The same rows again: nothing is left to judge by, and nothing is written."""
    session = Session(champion.folder.parent, Ranks())
    with pytest.raises(DataError, match="nothing is left to judge it by"):
        challenge([market(300)], config, champion, session)


def test_a_bundle_of_another_size_is_refused_before_training(champion: Champion, config: Config) -> None:
    """The sentence names the key and both values."""
    other = build(config.model_dump() | {"model": config.model.model_dump() | {"layers": 2}})
    with pytest.raises(ConfigError, match=r"model\.layers is 1 there and 2 here"):
        Champion.read(champion.folder, other)


def test_a_champion_is_read_back_as_it_was(champion: Champion, market: Market, config: Config) -> None:
    """Its networks answer as those of the inference side do, bit by bit."""
    from cryptoai.world_model import load

    data = market(20)
    values, mask = (torch.from_numpy(np.ascontiguousarray(a[None, :4])) for a in (data.values, data.mask))
    first, second = champion.nets().model, load(champion.folder, config.model)
    assert torch.equal(first.start(values, mask).h, second.start(values, mask).h)


def test_windows_follow_each_other_behind_the_embargo(market: Market, config: Config) -> None:
    """Three tests to the end of the rows, each behind all that its challenger learns from."""
    folds = folds_of([market(1000)], config)
    assert len(folds) == 3
    assert folds[-1].test[0].stop == 999 * SECOND
    assert all(fold.test[0].start > fold.train[0].stop + config.data.embargo_s * SECOND for fold in folds)
