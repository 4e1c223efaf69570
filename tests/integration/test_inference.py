"""The inference engine on a real bundle folder: what it answers, what it refuses, and how fast it is."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cryptoai.core.config import ModelConfig
from cryptoai.core.errors import BundleError, ModelUnavailableError
from cryptoai.core.messages import SAFE_ACTION
from cryptoai.core.state import StateVector
from cryptoai.data_universe.schema import SCHEMA_HASH, WIDTH, index
from cryptoai.decision_engine.inference import InferenceEngine
from cryptoai.testing.bundles import seal, states, untrained_bundle
from cryptoai.testing.market import SIGNAL_SLOT, synthetic_dataset
from cryptoai.world_model import HORIZONS

torch.set_num_threads(1)
SIZE = ModelConfig(hidden_dim=64, latent_dim=32)
MARKET = synthetic_dataset(0, 2000)
HISTORY = states(MARKET, range(1000, 1160, 10))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_bundle(tmp_path_factory.mktemp("bundles") / "one", model=SIZE)


@pytest.fixture(scope="module")
def engine(bundle: Path) -> InferenceEngine:
    return InferenceEngine.load(bundle)


def changed(state: StateVector, edits: dict[str, float | None]) -> StateVector:
    """The state with features set, or masked where None."""
    values, mask = state.floats(), state.present()
    for name, value in edits.items():
        values[index(name)], mask[index(name)] = value or 0.0, value is not None
    return StateVector.of(state.instrument, (state.event_time, state.known_at), state.schema_hash, values, mask)


def test_the_answer_is_whole_and_in_sensible_units(engine: InferenceEngine) -> None:
    """Ten rows of the market have a sd of about 4 bp: the forecast is of that size, ordered and consistent."""
    answer = engine.decide(HISTORY)
    assert answer.revision == engine.revision
    assert answer.schema_hash == SCHEMA_HASH
    assert set(answer.return_bps) == set(answer.return_sd_bps) == {"1s", "4s", "16s", "64s"}
    assert 1.0 < answer.return_sd_bps["1s"] < answer.return_sd_bps["16s"] < 100.0
    quantiles = list(answer.quantiles_bps.values())
    assert quantiles == sorted(quantiles)
    assert sum(answer.regime.values()) == pytest.approx(1.0)
    assert 0 < answer.var99_bps < answer.es99_bps
    assert not answer.alarm
    assert 0 < answer.anomaly < 1
    assert answer.action != SAFE_ACTION


def test_quantiles_invert_the_forecasts_own_distribution(engine: InferenceEngine) -> None:
    """Each reported quantile has its probability under the world model's mixture."""
    world_model = engine._parts.world_model
    values, mask = engine._padded(*engine._columns(HISTORY))
    mixture = world_model.forecast(world_model.start(values[None], mask[None], room=0))
    unit = float(world_model.return_scale) * 1e4
    answer = engine.decide(HISTORY)
    for name, p in (("p01", 0.01), ("p50", 0.5), ("p99", 0.99)):
        at = torch.full((1, len(HORIZONS)), answer.quantiles_bps[name] / unit)
        assert float(mixture.cdf(at)[0, 0]) == pytest.approx(p, abs=1e-4)


def test_the_same_question_has_the_same_answer(bundle: Path, engine: InferenceEngine) -> None:
    """Bitwise: asked again, in a batch, after other questions, by another engine, whatever the global seed is."""
    first = engine.decide(HISTORY)
    torch.manual_seed(123)
    batch = engine.decide_batch([HISTORY[:3], HISTORY, HISTORY[-1:]])
    assert batch[1] == first
    assert batch[0] != first
    assert InferenceEngine.load(bundle).decide(HISTORY) == first


def test_only_the_newest_context_counts(engine: InferenceEngine) -> None:
    """States older than the context change nothing; the newest one does."""
    older = states(MARKET, range(500, 1000, 10))
    assert engine.decide([*older, *HISTORY]) == engine.decide(HISTORY)
    moved = [*HISTORY[:-1], changed(HISTORY[-1], {SIGNAL_SLOT: 3.0})]
    assert engine.decide(moved).action != engine.decide(HISTORY).action


def test_a_short_history_is_answered(engine: InferenceEngine) -> None:
    """One state is enough, and empty states before it change nothing but rounding."""
    alone = engine.decide(HISTORY[-1:])
    empty = StateVector.of(HISTORY[0].instrument, (0, 0), SCHEMA_HASH, [0.0] * WIDTH, [False] * WIDTH)
    padded = engine.decide([empty] * 5 + HISTORY[-1:])
    assert alone.return_bps == pytest.approx(padded.return_bps)
    assert alone.return_bps != engine.decide(HISTORY).return_bps


def test_the_position_is_seen_by_the_policy_alone(engine: InferenceEngine) -> None:
    """What we hold changes the action and the value, never the forecast or the anomaly; masked means flat."""
    flat, long, masked = (
        engine.decide([*HISTORY[:-1], changed(HISTORY[-1], {"position_share": held})]) for held in (0.0, 1.0, None)
    )
    assert flat == masked
    assert flat.action != long.action
    assert flat.value != long.value
    assert (flat.return_bps, flat.anomaly) == (long.return_bps, long.anomaly)


def test_an_empty_state_gets_the_safe_action_and_the_alarm(engine: InferenceEngine) -> None:
    """Nothing present is nothing known, however good the history was."""
    nothing = StateVector.of(HISTORY[0].instrument, (2**62, 2**62), SCHEMA_HASH, [0.0] * WIDTH, [False] * WIDTH)
    answer = engine.decide([*HISTORY, nothing])
    assert answer.action == SAFE_ACTION
    assert answer.alarm
    assert answer.anomaly > 1


def test_a_strange_state_gets_the_safe_action_until_calm_returns(engine: InferenceEngine) -> None:
    """Values far outside training raise the alarm; it stands for two calm states and clears with the third."""
    wild = changed(HISTORY[10], dict.fromkeys((SIGNAL_SLOT, "ofi_5s", "basis", "perp_return_1s"), 1e4))
    answer = engine.decide([*HISTORY[:10], wild])
    assert answer.anomaly > 1
    assert answer.action == SAFE_ACTION
    after = [engine.decide([*HISTORY[:10], wild, *HISTORY[11 : 11 + calm]]) for calm in (1, 2, 3)]
    calm_scores = [engine.decide(HISTORY[: 12 + k]).anomaly for k in range(3)]
    assert max(calm_scores) < 0.8
    assert [a.alarm for a in after] == [True, True, False]


def wrong_schema(history: list[StateVector]) -> list[StateVector]:
    return [*history[:-1], replace(history[-1], schema_hash="0" * 32)]


def not_a_number(history: list[StateVector]) -> list[StateVector]:
    return [*history[:-1], replace(history[-1], values=b"\x00\x00\xc0\x7f" + history[-1].values[4:])]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda _: [], "no state"),
        (wrong_schema, "the bundle expects"),
        (not_a_number, "not finite"),
        (lambda h: h[::-1], "goes back"),
        (lambda h: [*h[:-1], replace(h[-1], instrument="fake:ETHUSDT")], "mixes instruments"),
        (lambda h: [*h[:-1], replace(h[-1], values=h[-1].values[:-4], mask=h[-1].mask[:-1])], "199 features"),
    ],
)
def test_what_cannot_be_trusted_is_refused(
    engine: InferenceEngine, spoil: Callable[[list[StateVector]], list[StateVector]], words: str
) -> None:
    """No guess is made for a broken question."""
    with pytest.raises(ModelUnavailableError, match=words):
        engine.decide(spoil(list(HISTORY)))


def test_an_answer_that_is_not_finite_is_refused(bundle: Path) -> None:
    """Weights that overflow on a state give no answer at all."""
    engine = InferenceEngine.load(bundle)
    with torch.no_grad():
        engine._parts.critic.body[-1].bias.fill_(float("inf"))
    with pytest.raises(ModelUnavailableError, match="value is not a finite number"):
        engine.decide(HISTORY)


def test_a_changed_byte_and_another_schema_are_refused(bundle: Path, tmp_path: Path) -> None:
    """A bundle is what its manifest says or nothing."""
    flipped = Path(shutil.copytree(bundle, tmp_path / "flipped"))
    raw = bytearray((flipped / "policy.safetensors").read_bytes())
    raw[-1] ^= 1
    (flipped / "policy.safetensors").write_bytes(raw)
    with pytest.raises(BundleError, match="changed after training"):
        InferenceEngine.load(flipped)
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    seal(other, SIZE, schema_hash="0" * 32)
    with pytest.raises(BundleError, match="train a new bundle"):
        InferenceEngine.load(other)


def test_tensors_that_do_not_fit_or_are_not_finite_are_refused(bundle: Path, tmp_path: Path) -> None:
    """A sealed bundle can still be wrong inside."""
    folder = Path(shutil.copytree(bundle, tmp_path / "wrong"))
    tensors = load_file(folder / "policy.safetensors")
    save_file(tensors | {"policy.log_std": torch.zeros(3)}, folder / "policy.safetensors")
    seal(folder, SIZE)
    with pytest.raises(BundleError, match="does not fit"):
        InferenceEngine.load(folder)
    save_file(tensors | {"policy.log_std": torch.full((4,), float("nan"))}, folder / "policy.safetensors")
    seal(folder, SIZE)
    with pytest.raises(BundleError, match="not finite"):
        InferenceEngine.load(folder)


def test_a_link_to_a_bundle_loads(bundle: Path, tmp_path: Path) -> None:
    """`best_model.pt` is a link to a folder."""
    link = tmp_path / "best_model.pt"
    link.symlink_to(bundle)
    engine = InferenceEngine.load(link)
    engine.warm_up()
    assert engine.revision == InferenceEngine.load(bundle).revision
