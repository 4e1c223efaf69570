"""One decision of the learned stack on one thread: a history of 16 states in, an action out, at two sizes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from harness import each, report

from cryptoai.core.config import ModelConfig
from cryptoai.decision_engine.inference import InferenceEngine
from cryptoai.testing.bundles import states, untrained_bundle
from cryptoai.testing.market import synthetic_dataset


def main() -> None:
    torch.set_num_threads(1)
    market = synthetic_dataset(1, 400)
    for hidden, latent in ((64, 32), (256, 128)):
        with tempfile.TemporaryDirectory() as folder:
            model = ModelConfig.model_validate({"hidden_dim": hidden, "latent_dim": latent})
            engine = InferenceEngine.load(untrained_bundle(Path(folder) / "bundle", model=model))
            history = states(market, range(engine.context))
            report("decide", hidden=hidden, **each(lambda e=engine, h=history: e.decide(h), count=300))  # type: ignore[misc]


if __name__ == "__main__":
    main()
