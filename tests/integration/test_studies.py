"""Grids, walk-forward, capacity and the truncation check as commands, on the shipped tape with a small fast model."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from cryptoai.backtesting.executor import ProcessExecutor
from cryptoai.backtesting.study import study_summary
from cryptoai.cli import lookahead
from cryptoai.cli.backtest import Extras, run_studies
from cryptoai.cli.studies import Asked, multiples, parse_axes, run_grid, run_walk_forward
from cryptoai.cli.tapes import load_feeds
from cryptoai.core.config import Config, build, merge
from cryptoai.core.errors import ConfigError, DataError
from cryptoai.data_universe import lake
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.market_microstructure.tape import read_capture
from cryptoai.testing.jobs import SerialExecutor, open_follower
from cryptoai.testing.slices import TAPES

command = importlib.import_module("cryptoai.cli.backtest")
NAME = "binance_usdm:BTCUSDT"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that holds the first minutes of the shipped perpetual tape."""
    made = instrument(NAME)
    whole = read_capture(TAPES / "binance_usdm_btcusdt_20240808.gz", made)
    short = whole.events.slice(0, whole.events.until(int(whole.events.known_at[0]) + 90 * 10**9))
    folder = tmp_path_factory.mktemp("lake")
    lake.write_events(folder, made, short, whole.report)
    return folder


@pytest.fixture
def config(root: Path) -> Config:
    """Ninety seconds, the last third unseen, one decision a second."""
    return build(
        {
            "data": {"lake": str(root), "train_share": 0.66},
            "execution": {"mode": "backtest", "decision_interval_ms": 1000, "order_ttl_ms": 900},
        }
    )


@pytest.fixture
def asked(config: Config, tmp_path: Path) -> Asked:
    """With a model that needs no bundle."""
    return Asked(config, ("BTCUSDT",), None, tmp_path, open_follower)


def test_a_grid_runs_every_trial_once_and_the_report_shows_all(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four trials, walk-forward and two sizes; the second start runs nothing again; page and JSON agree."""
    feeds = load_feeds(asked.config, asked.assets)
    wanted = Extras(
        grid=("risk.max_position_pct=0.05,0.1", "execution.order_type=limit,market"),
        walk_forward=2,
        capacity=(1.0, 20.0),
        trials=3,
    )
    first, again = SerialExecutor(), SerialExecutor()
    study = run_studies(asked, feeds, wanted, first)
    assert first.done == 4 + 2 + 2
    assert run_studies(asked, feeds, wanted, again) == study
    assert again.done == 0
    assert study.selection is not None
    assert study.selection.trials == 4 + 3
    assert study.walk is not None
    for fold in study.walk.folds:
        assert fold.split.last_row + fold.split.label_ns + fold.split.embargo_ns < fold.split.test.start
    assert study.capacity[1].money == 20 * study.capacity[0].money
    monkeypatch.setattr(command, "open_model", open_follower)
    result = command.replay_unseen(asked.config, feeds, None, asked.folder / "journal.jsonl")
    command.write_results(command.evaluate(result, trials=study.selection.trials), asked.folder, study)
    page = (asked.folder / "report.html").read_text()
    summary = json.loads((asked.folder / "summary.json").read_text())
    assert summary["grid"] == json.loads(json.dumps(study_summary(study)["grid"]))
    assert summary["significance"]["trials"] == 7
    for text in ("Trials: 7", "Walk-forward, 2 folds", "Capacity", "Probability of backtest overfitting", "rolling"):
        assert text in page


@pytest.mark.slow
def test_a_grid_over_processes_finds_what_one_process_finds(asked: Asked, tmp_path: Path) -> None:
    """Two workers, the same rows to the digit."""
    feeds = load_feeds(asked.config, asked.assets)
    items = ["risk.max_position_pct=0.05,0.1"]
    spread = run_grid(asked, feeds, items, ProcessExecutor(2))
    (tmp_path / "grid.jsonl").unlink()
    assert run_grid(asked, feeds, items, SerialExecutor()).rows == spread.rows


@pytest.mark.slow
def test_a_model_is_trained_for_each_fold_when_asked(asked: Asked) -> None:
    """Two folds, two bundles of their own, each in its fold's folder; both judged on what they never saw."""
    from cryptoai.testing.bundles import SMALLEST

    config = build(merge(asked.config.model_dump(), SMALLEST))
    own = Asked(config, asked.assets, None, asked.folder)
    walk = run_walk_forward(own, load_feeds(config, own.assets), 2, SerialExecutor(), retrain=True)
    assert walk.retrained
    first, second = (fold.revision for fold in walk.folds)
    assert first != second
    for number, revision in enumerate((first, second)):
        assert (asked.folder / "folds" / str(number) / "checkpoints" / revision[:12]).is_dir()


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (["risk.max_leverage"], "section.key=value,value"),
        (["risk.max_leverag=1"], "only keys of"),
        (["data.train_share=0.5,0.6"], "must stay the same"),
        (["risk.max_leverage=1", "risk.max_leverage=2"], "given twice"),
    ],
)
def test_a_grid_that_cannot_be_compared_is_refused(items: list[str], said: str) -> None:
    """Each mistake by name, with what to write."""
    with pytest.raises(ConfigError, match=said):
        parse_axes(items)


def test_values_of_a_grid_are_typed_and_checked_before_anything_runs(asked: Asked) -> None:
    """Numbers are numbers, words are words; a value that no configuration takes stops the command."""
    assert parse_axes(["risk.max_leverage=1,2.5", "execution.order_type=limit"]) == {
        "risk.max_leverage": [1, 2.5],
        "execution.order_type": ["limit"],
    }
    executor = SerialExecutor()
    with pytest.raises(ConfigError, match="max_leverage"):
        run_grid(asked, load_feeds(asked.config, asked.assets), ["risk.max_leverage=1,1000"], executor)
    assert executor.done == 0


def test_sizes_are_numbers_above_zero(asked: Asked) -> None:
    """And --retrain goes with --walk-forward."""
    assert multiples("1,4.5") == (1.0, 4.5)
    with pytest.raises(ConfigError, match="numbers with commas"):
        multiples("1;2")
    feeds = load_feeds(asked.config, asked.assets)
    with pytest.raises(ConfigError, match="above zero"):
        run_studies(asked, feeds, Extras(capacity=(0.0,)), SerialExecutor())
    with pytest.raises(ConfigError, match="goes with --walk-forward"):
        Extras(retrain=True)


def test_the_command_finds_nothing_in_a_clean_replay_and_a_planted_leak(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 for clean, 0 for a planted leak that was found."""
    monkeypatch.setattr(lookahead, "open_model", open_follower)
    assert lookahead.run_check(config, ["BTCUSDT"], None, cuts=2, plant=False) == 0
    assert "clean" in capsys.readouterr().out
    assert lookahead.run_check(config, ["BTCUSDT"], None, cuts=2, plant=True) == 0
    assert "planted leak was found: features trade_imbalance_1s" in capsys.readouterr().out


def test_a_leak_is_an_exit_code(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --plant-leak a market that peeks fails the command, and says where."""
    from dataclasses import replace

    from cryptoai.backtesting.leak import Planted
    from cryptoai.backtesting.run import Replay

    def leaking(*given: Any) -> Replay:
        return replace(Replay(*given), through=Planted.within(given[1]))

    monkeypatch.setattr(lookahead, "open_model", open_follower)
    monkeypatch.setattr(lookahead, "Replay", leaking)
    assert lookahead.run_check(config, ["BTCUSDT"], None, cuts=2, plant=False) == lookahead.FOUND
    assert "results rest on the future" in capsys.readouterr().out


def test_an_empty_lake_is_said_so(asked: Asked, tmp_path: Path) -> None:
    """Before any worker starts."""
    with pytest.raises(DataError, match="is empty"):
        load_feeds(build({"data": {"lake": str(tmp_path / "none")}}), ["BTCUSDT"])
