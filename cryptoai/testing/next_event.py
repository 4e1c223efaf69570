"""Who trades next, buyer or seller: the flow encoder as a forecaster of event types, and the forecasters it must beat.

The gate of the flow encoder uses it, on the self-exciting market. Every forecast of event n is made at its moment from
the events before it; none may read the type of event n itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cryptoai.encoders.order_flow import OrderFlowEncoder
from cryptoai.testing.market.hawkes import HawkesFlow, fit_hawkes

__all__ = ["FORECASTERS", "NextEvent", "event_inputs", "learn"]

WINDOW = 128
"""Events of one training sequence; the first `WARM` of them have too little past to be judged by."""
WARM = 16
LAGS = 4
"""Last events that each step of the encoder is shown."""
DECAYS = (0.5, 1.0, 2.0, 4.0)
"""Decay rates (1/s) of the order-flow imbalances that the baselines read."""

Floats = npt.NDArray[np.float64]


class NextEvent(nn.Module):
    """Events (B, T, 2 LAGS) as `event_inputs` gives them -> logit that event t is a buy, (B, T)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder = OrderFlowEncoder(2 * LAGS, width)
        self.head = nn.Linear(width, 1)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(values, torch.ones_like(values, dtype=torch.bool)))
        return out.squeeze(-1)

    def probability(self, flow: HawkesFlow) -> Floats:
        """P(event n is a buy), [N], read in one pass over the flow."""
        with torch.no_grad():
            return np.asarray(self(event_inputs(flow)[None])[0].double().sigmoid().numpy())


def event_inputs(flow: HawkesFlow) -> Tensor:
    """What is known at the moment of each event, float32 [N, 2 LAGS]: for each of the last events exp(-its age / 1 s).

    Once with the sign of its type (-1 sell, 1 buy), once without; 0 where there was no such event.
    """
    signs, columns = 2.0 * flow.types - 1.0, []
    for lag in range(1, LAGS + 1):
        fade = np.concatenate([np.zeros(lag), np.exp(flow.times[:-lag] - flow.times[lag:])])
        columns += [fade * np.concatenate([np.zeros(lag), signs[:-lag]]), fade]
    return torch.as_tensor(np.stack(columns, 1), dtype=torch.float32)


def learn(flow: HawkesFlow, seed: int, *, epochs: int = 12, batch: int = 16) -> NextEvent:
    """The encoder and a linear head, trained by log loss with AdamW and a one-cycle rate; same seed, same weights."""
    # Modules draw their first weights from the global generator, which is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NextEvent()
    inputs, types = event_inputs(flow), torch.as_tensor(flow.types, dtype=torch.float32)
    rounds = list(_batches(len(types), epochs, batch, torch.Generator().manual_seed(seed)))
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=len(rounds))
    for rows in rounds:
        loss = F.binary_cross_entropy_with_logits(model(inputs[rows])[:, WARM:], types[rows][:, WARM:])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return model.eval()


def _batches(rows: int, epochs: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers (batch, WINDOW) of sequences that judge every event once an epoch, shuffled."""
    starts = torch.arange(0, rows - WINDOW + 1, WINDOW - WARM)
    for _ in range(epochs):
        order = starts[torch.randperm(len(starts), generator=generator)]
        for chosen in order[: len(order) // batch * batch].split(batch):  # type: ignore[no-untyped-call]
            yield chosen[:, None] + torch.arange(WINDOW)


def persistence(_: HawkesFlow, flow: HawkesFlow) -> Floats:
    """The type of the last event, once more."""
    return np.concatenate([[0.5], flow.types[:-1].astype(np.float64)])


def logistic(train: HawkesFlow, flow: HawkesFlow) -> Floats:
    """Logistic regression on the order-flow imbalances (scikit-learn)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(_imbalances(train), train.types)
    return np.asarray(fitted.predict_proba(_imbalances(flow))[:, 1])


def boosting(train: HawkesFlow, flow: HawkesFlow) -> Floats:
    """LightGBM on the imbalances and on what the encoder reads."""
    import lightgbm

    settings = {
        "objective": "binary", "num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 200, "verbosity": -1,
        "num_threads": 1, "seed": 0, "deterministic": True,
    }  # fmt: skip
    data = lightgbm.Dataset(_tabular(train), label=train.types)
    return np.asarray(lightgbm.train(settings, data, num_boost_round=150).predict(_tabular(flow)))


def intensities(train: HawkesFlow, flow: HawkesFlow) -> Floats:
    """The right family of models, fitted by maximum likelihood."""
    return fit_hawkes(train).buy_probability(flow)


FORECASTERS: dict[str, Callable[[HawkesFlow, HawkesFlow], Floats]] = {
    "persistence": persistence, "OFI logistic": logistic, "LightGBM": boosting, "Hawkes MLE": intensities,
}  # fmt: skip
"""Name -> (flow to learn from, flow to judge) -> P(buy), [N] of the second."""


def _imbalances(flow: HawkesFlow) -> Floats:
    """Decayed buys minus decayed sells before each event, at each of `DECAYS`, [N, 4]."""
    gaps, signs = np.diff(flow.times, prepend=flow.times[:1]), 2.0 * flow.types - 1.0
    table, state = np.empty((len(gaps), len(DECAYS))), np.zeros(len(DECAYS))
    fades = np.exp(-np.asarray(DECAYS) * gaps[:, None])
    for n in range(len(gaps)):
        state = (state + (signs[n - 1] if n else 0.0)) * fades[n]
        table[n] = state
    return table


def _tabular(flow: HawkesFlow) -> Floats:
    return np.column_stack([_imbalances(flow), event_inputs(flow).numpy()])
