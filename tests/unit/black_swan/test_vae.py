"""The autoencoder's score, and the choice between it and the distance."""

import numpy as np
import pytest
import torch

from cryptoai.black_swan import detector
from cryptoai.black_swan import vae as module
from cryptoai.black_swan.anomaly import Mahalanobis
from cryptoai.black_swan.detector import auroc, choose_detector, stored_detector
from cryptoai.black_swan.vae import Vae
from cryptoai.core.errors import BundleError, DataError
from cryptoai.testing.market.anomalies import planted_anomalies

torch.set_num_threads(1)
MARKET = planted_anomalies(1, 1500, 1000, dims=40, swapped=8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def there(rows: np.ndarray) -> np.ndarray:
    return np.ones(rows.shape, dtype=bool)


@pytest.fixture(scope="module")
def vae() -> Vae:
    return Vae.fit(MARKET.train, there(MARKET.train), seeded())


def test_it_finds_broken_dependence_and_not_by_the_divergence(vae: Vae) -> None:
    """-ELBO ranks tampered rows above clean ones, and better than the divergence alone would."""
    scores = vae.score(MARKET.test, there(MARKET.test), raw=True)
    assert auroc(scores[MARKET.odd], scores[~MARKET.odd]) > 0.8
    z, mask = vae._tensors_of(MARKET.test, there(MARKET.test))
    with torch.inference_mode():
        divergence = vae.network.loss(z, torch.zeros_like(mask), mask).numpy()
    blind = auroc(divergence[MARKET.odd], divergence[~MARKET.odd])
    assert blind < auroc(scores[MARKET.odd], scores[~MARKET.odd]) - 0.02


def test_training_like_states_score_below_one(vae: Vae) -> None:
    """Of clean rows at most one in a hundred is called strange, and the typical one is far from it."""
    scores = vae.score(MARKET.test, there(MARKET.test))[~MARKET.odd]
    assert (scores > 1).mean() <= 0.01
    assert 0.0 < np.median(scores) < 0.7


def test_the_same_seed_gives_the_same_network_whatever_the_global_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw is from the generator that is handed in, and the global one is left alone."""
    rows = MARKET.train[:260]
    monkeypatch.setattr(module, "STEPS", 20)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = Vae.fit(rows, there(rows), seeded(4))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    again = Vae.fit(rows, there(rows), seeded(4))
    assert np.array_equal(first.score(rows, there(rows), raw=True), again.score(rows, there(rows), raw=True))


def test_missing_features_cost_nothing(vae: Vae) -> None:
    """Absurd values behind the mask change nothing, and a state with half of it missing is not strange."""
    half = there(MARKET.test)
    half[:, ::2] = False
    absurd = np.where(half, MARKET.test, 1e6)
    assert np.array_equal(vae.score(absurd, half), vae.score(np.where(half, MARKET.test, 0.0), half))
    assert (vae.score(MARKET.test, half)[~MARKET.odd] < 1).all()
    assert vae.coverage(half) == pytest.approx(np.full(len(half), 0.5))


def test_it_survives_storage(vae: Vae) -> None:
    """Read back it scores bit for bit; what is not whole or not finite is refused."""
    stored = vae.tensors()
    back = stored_detector(stored)
    assert isinstance(back, Vae)
    assert np.array_equal(back.score(MARKET.test, there(MARKET.test)), vae.score(MARKET.test, there(MARKET.test)))
    with pytest.raises(BundleError, match="not whole"):
        Vae.from_tensors({name: t for name, t in stored.items() if name != "vae.network.decode.weight"})
    with pytest.raises(BundleError, match="not finite"):
        Vae.from_tensors(stored | {"vae.centre": stored["vae.centre"] * np.nan})


def test_the_choice_is_measured_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The distance ships unless the autoencoder wins on every stretch; both figures are kept in the file."""
    monkeypatch.setattr(module, "STEPS", 5)
    rows = MARKET.train[:600]
    choice = choose_detector(rows, there(rows), seeded())
    assert isinstance(choice.detector, Mahalanobis)
    assert choice.mahalanobis > 0.75
    assert choice.tensors()["anomaly.auroc"].tolist() == [choice.mahalanobis, choice.vae]


def test_the_autoencoder_ships_where_it_wins_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the distance is made blind, the same states and oddities choose the network."""
    monkeypatch.setattr(module, "STEPS", 5)
    monkeypatch.setattr(detector, "USEFUL", 0.6)
    monkeypatch.setattr(Mahalanobis, "score", lambda _self, values, _mask: np.zeros(len(values)))
    rows = MARKET.train[:600]
    choice = choose_detector(rows, there(rows), seeded())
    assert isinstance(choice.detector, Vae)
    assert choice.mahalanobis == 0.5 < choice.vae


def test_too_little_is_refused() -> None:
    """249 rows teach no network, 399 decide no choice."""
    with pytest.raises(DataError, match="250 rows"):
        Vae.fit(np.zeros((249, 3)), there(np.zeros((249, 3))), seeded())
    with pytest.raises(DataError, match="400 rows"):
        choose_detector(np.zeros((399, 3)), there(np.zeros((399, 3))), seeded())
