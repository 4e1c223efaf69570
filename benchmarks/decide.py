"""One decision of the learned stack on one thread: a history of 16 states in, an action out, at two sizes.

Wall-clock times are what a caller waits; processor times are the same on a machine that is busy with other things.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from harness import each, report

from cryptoai.core.config import ModelConfig
from cryptoai.core.state import StateVector
from cryptoai.decision_engine.inference import InferenceEngine
from cryptoai.testing.bundles import states, untrained_bundle
from cryptoai.testing.market import synthetic_dataset


def processor(work: Callable[[], object], count: int) -> dict[str, float]:
    """p50 and p99 of the thread's own time, in microseconds."""
    taken = []
    for _ in range(count):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    taken.sort()
    return {"p50_cpu_us": round(taken[count // 2] * 1e6, 1), "p99_cpu_us": round(taken[int(count * 0.99)] * 1e6, 1)}


def main() -> None:
    torch.set_num_threads(1)
    market = synthetic_dataset(1, 400)
    for hidden, latent in ((64, 32), (256, 128)):
        with tempfile.TemporaryDirectory() as folder:
            model = ModelConfig.model_validate({"hidden_dim": hidden, "latent_dim": latent})
            engine = InferenceEngine.load(untrained_bundle(Path(folder) / "bundle", model=model))
            history = states(market, range(engine.context))

            def work(engine: InferenceEngine = engine, history: list[StateVector] = history) -> object:
                return engine.decide(history)

            report("decide", hidden=hidden, **each(work, count=1000), **processor(work, 1000))


if __name__ == "__main__":
    main()
