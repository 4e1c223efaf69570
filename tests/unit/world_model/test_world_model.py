"""The world model: one forward for training and imagination, causal, seeded, and able to learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cryptoai.core.config import ModelConfig
from cryptoai.core.errors import ConfigError, InvariantError
from cryptoai.data_universe.schema import WIDTH
from cryptoai.world_model import HORIZONS, Batch, WorldModel
from cryptoai.world_model.model import _until_cut
from cryptoai.world_model.transformer import CausalTransformer

CONFIG = ModelConfig(hidden_dim=32, latent_dim=16, layers=2, heads=4)
STEPS = 7


def model() -> WorldModel:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = WorldModel(CONFIG)
    torch.nn.init.normal_(made.returns.last.weight, std=0.1)  # the untrained head ignores h
    return made


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def states(batch: int = 3, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, steps, WIDTH, generator=draws(1)), torch.rand(
        batch, steps, WIDTH, generator=draws(2)
    ) > 0.2


def embedding(wm: WorldModel) -> Tensor:
    return wm.encoder.embed(*wm.encoder.scale(*states()))


def batch(size: int = 4, steps: int = STEPS) -> Batch:
    values, mask = states(size, steps)
    known = torch.ones(size, steps, len(HORIZONS), dtype=torch.bool)
    return Batch(values, mask, torch.randn(known.shape, generator=draws(3)), known, known[..., 0])


def test_the_cached_pass_equals_the_parallel_pass() -> None:
    """Step by step through the cache gives the memory of one parallel pass over the same tokens."""
    wm = model()
    tokens = wm.tokens(wm.observe(*states()).z, embedding(wm))
    valid = torch.ones(3, STEPS, dtype=torch.bool)
    whole = wm.transformer(tokens, valid)
    cache = wm.transformer.cache(3, STEPS, tokens)
    parts = [wm.transformer(tokens[:, :3], valid[:, :3], cache)]
    parts += [wm.transformer(tokens[:, t : t + 1], valid[:, :1], cache, t) for t in range(3, STEPS)]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_start_stands_where_the_parallel_pass_ends() -> None:
    """The memory that a decision is made from is the one that training scored."""
    wm = model()
    latent, seen = wm.start(*states()), wm.observe(*states())
    assert torch.allclose(latent.h, seen.h[:, -1], atol=1e-6)
    assert torch.equal(latent.z, seen.z[:, -1])
    assert latent.feature.shape == (3, wm.feature_dim)


def test_imagination_continues_the_memory_of_the_latents_it_drew() -> None:
    """After two drawn steps h equals a parallel pass over the observed and the drawn latents."""
    wm = model()
    latent, generator = wm.start(*states(), room=2), draws()
    z = [wm.observe(*states()).z]
    for _ in range(2):
        latent, returns = wm.step(latent, generator)
        z.append(latent.z.unsqueeze(1))
        assert returns.shape == (3,)
    shown = torch.cat([embedding(wm), torch.zeros(3, 2, CONFIG.hidden_dim)], 1)
    whole = wm.transformer(wm.tokens(torch.cat(z, 1), shown), torch.ones(3, STEPS + 2, dtype=torch.bool))
    assert torch.allclose(latent.h, whole[:, -1], atol=1e-5)


def test_the_future_changes_no_earlier_forecast() -> None:
    """Inputs after t are replaced: memory, latent, prior and forecast up to t are bitwise equal, later ones are not."""
    wm, (values, mask) = model(), states()
    later = torch.where(torch.arange(STEPS)[:, None] > 3, values + 4.0, values)
    before, after = wm.observe(values, mask), wm.observe(later, mask)
    for name in ("h", "z", "prior", "posterior"):
        assert torch.equal(getattr(before, name)[:, :4], getattr(after, name)[:, :4]), name
    assert torch.equal(wm.mixture(before.h).mean[:, :4], wm.mixture(after.h).mean[:, :4])
    assert not torch.equal(before.h[:, 4:], after.h[:, 4:])


def test_the_causality_test_catches_a_planted_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a mask that shows the future the check above fails, so it can fail."""
    monkeypatch.setattr(
        "cryptoai.world_model.transformer._mask",
        lambda valid, queries: torch.ones(len(valid), 1, queries, valid.shape[1], dtype=torch.bool),
    )
    with pytest.raises(AssertionError):
        test_the_future_changes_no_earlier_forecast()


def test_a_short_history_equals_its_left_padded_form() -> None:
    """Empty steps in front are masked: only distances in time matter."""
    wm, (values, mask) = model(), states()
    empty = torch.zeros(3, 4, WIDTH)
    short = wm.start(values, mask)
    padded = wm.start(torch.cat([empty, values], 1), torch.cat([empty.bool(), mask], 1))
    assert torch.allclose(short.h, padded.h, atol=1e-5)


def test_the_generator_decides_every_draw() -> None:
    """Equal seeds give bitwise equal rollouts, other seeds others; the global state is untouched."""
    wm, state = model(), torch.get_rng_state()

    def roll(seed: int) -> Tensor:
        latent, generator = wm.start(*states(), room=5), draws(seed)
        rows = []
        for _ in range(5):
            latent, returns = wm.step(latent, generator)
            rows.append(returns)
        return torch.stack(rows)

    first = roll(0)
    assert torch.equal(first, roll(0))
    assert not torch.equal(first, roll(1))
    model_state = torch.get_rng_state()
    roll(2)
    assert torch.equal(model_state, torch.get_rng_state())
    assert state.shape == model_state.shape


def test_forks_do_not_write_into_each_other() -> None:
    """Two futures of one moment, taken in turns, are the futures taken alone."""
    wm = model()

    def one(seed: int) -> Tensor:
        latent, generator = wm.start(*states(), room=3), draws(seed)
        for _ in range(3):
            latent, _ = wm.step(latent, generator)
        return latent.h

    root = wm.start(*states(), room=3)
    twins, generators = [root.fork(), root.fork()], [draws(0), draws(1)]
    for _ in range(3):
        twins = [wm.step(twin, generator)[0] for twin, generator in zip(twins, generators, strict=True)]
    assert torch.equal(twins[0].h, one(0))
    assert torch.equal(twins[1].h, one(1))


def test_a_full_cache_is_refused() -> None:
    """Room for one step is room for one step."""
    wm = model()
    latent, _ = wm.step(wm.start(*states(), room=1), draws())
    with pytest.raises(InvariantError, match="room"):
        wm.step(latent, draws())


def test_a_head_of_odd_width_is_refused() -> None:
    """Rotary positions turn pairs; the error names both keys."""
    with pytest.raises(ConfigError, match=r"model\.heads = 8 .* model\.hidden_dim = 24"):
        CausalTransformer(ModelConfig(hidden_dim=24, heads=8))


def test_the_untrained_forecast_is_the_base_mixture() -> None:
    """The return head starts at zero, and at zero trust it stays there whatever it learned."""
    fresh = WorldModel(CONFIG)
    fresh.set_units(1e-4, fresh.base * 1.1)
    untrained = fresh.forecast(fresh.start(*states()))
    wm = model()
    wm.set_units(1e-4, fresh.base)
    wm.set_trust(torch.zeros(len(HORIZONS)))
    assert torch.equal(wm.forecast(wm.start(*states())).scale, untrained.scale)
    assert float(untrained.mean.abs().max()) == 0.0


def test_unscored_steps_and_unknown_returns_add_nothing() -> None:
    """Changing a label that is unknown, or of a step that is context only, leaves the loss bitwise equal."""
    wm, given = model(), batch()
    known, scored = given.known.clone(), given.scored.clone()
    known[:, 2, 1] = False
    scored[:, 4] = False
    given = replace(given, known=known, scored=scored)
    changed = given.returns.clone()
    changed[:, 2, 1], changed[:, 4] = 1e6, float("nan")
    assert torch.equal(wm.loss(given, draws())[0], wm.loss(replace(given, returns=changed), draws())[0])
    changed[:, 3] = 2.0
    assert not torch.equal(wm.loss(given, draws())[0], wm.loss(replace(given, returns=changed), draws())[0])


def test_training_also_lives_without_observations() -> None:
    """In some sequences the embeddings end at a random step, as in imagination; the first step always has its own."""
    shown = _until_cut(torch.ones(400, STEPS, 2), draws())
    lengths = shown[..., 0].sum(1)
    assert float((lengths == STEPS).float().mean()) > 0.45
    assert set(lengths.tolist()) == set(range(1, STEPS + 1))
    assert bool((shown.diff(dim=1) <= 0).all())


def test_every_parameter_is_reached_by_the_loss() -> None:
    """No head is left out of the objective."""
    wm = model()
    wm.loss(batch(), draws())[0].backward()
    still = [name for name, parameter in wm.named_parameters() if parameter.grad is None]
    assert still == []


def test_a_tiny_batch_is_learned_by_heart() -> None:
    """Eighty steps on four sequences bring the return term far below where it began."""
    wm, given = model(), batch()
    optimizer = torch.optim.AdamW(wm.parameters(), lr=5e-3)
    history = []
    for step in range(80):
        loss, terms = wm.loss(given, draws(step))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(wm.parameters(), 1.0)
        optimizer.step()
        history.append(float(terms["returns"].detach()))
    assert sum(history[-5:]) / 5 < history[0] - 0.7
