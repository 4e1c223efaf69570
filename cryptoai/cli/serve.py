"""`cryptoai serve` and `cryptoai dashboard`: the two servers in the foreground.

The inference server is BentoML's process, started by bentos.serve; the dashboard is uvicorn in this one. Both bind to
loopback unless the configuration says otherwise.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cryptoai.cli.models import bundle_path
from cryptoai.cli.settings import project_root
from cryptoai.core.config import Config

__all__ = ["run_dashboard", "run_server", "server_command"]


def run_server(config: Config, model: str | None) -> int:
    """Becomes the inference server; returns only if it cannot start."""
    from cryptoai.core.bundle import verify_bundle

    bundle = bundle_path(model, config)
    verify_bundle(bundle)
    os.chdir(project_root())
    os.execv(sys.executable, server_command(config, ["--bundle", str(bundle)], Path("var/bentoml").resolve()))  # noqa: S606


def server_command(config: Config, source: list[str], home: Path) -> list[str]:
    """The command line of the inference server; `source` is --bundle DIR or --tag TAG."""
    serving = config.serving
    return [
        *(sys.executable, "-m", "bentos.serve", *source, "--home", str(home)),
        *("--host", serving.host, "--port", str(serving.port), "--workers", str(serving.workers)),
        *("--max-body-bytes", str(serving.max_body_bytes), "--max-batch", str(serving.max_batch)),
        *("--deadline-ms", str(config.execution.model_timeout_ms)),
    ]


def run_dashboard(config: Config, folder: Path) -> int:
    """Serves the page of the bot that writes into `folder` until it is stopped."""
    from cryptoai.monitoring.adapters.prometheus import exposition
    from cryptoai.monitoring.dashboard.app import create_app
    from cryptoai.monitoring.dashboard.server import serve

    app = create_app(
        folder / "journal.jsonl",
        exposition=exposition,
        bundle_dir=_bundle_of(config, folder),
        state_log=folder / "states.f32",
        title=f"CryptoAI · {folder.name}",
    )
    serve(app, config.dashboard.host, config.dashboard.port)
    return 0


def _bundle_of(config: Config, folder: Path) -> Path | None:
    for candidate in (folder / "bundle", Path(config.training.checkpoints) / "best_model.pt"):
        if candidate.exists():
            return candidate.resolve()
    return None
