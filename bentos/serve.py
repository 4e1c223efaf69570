"""Serves a bundle or a Bento in the foreground: `python -m bentos.serve --bundle DIR|--tag TAG --home DIR`.

Checks first what can be checked in a sentence (the port, the bundle), then becomes `bentoml serve`, so that signals and
the exit code are BentoML's own. Every setting reaches the workers through the environment.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bentos.build import bento_environment
from bentos.settings import PACKAGED_BUNDLE, read_settings
from cryptoai.core.bundle import verify_bundle
from cryptoai.core.errors import ConfigError, CryptoAIError
from cryptoai.data_universe.schema import SCHEMA_HASH

__all__ = ["command", "environment", "main", "preflight"]

_DRAIN_S = 10
_SERVICE = "bentos.service:CryptoAIInference"


def main(arguments: Sequence[str] | None = None) -> int:
    """Never returns when it serves; a refusal is one sentence on stderr and the error's exit code."""
    options = _parser().parse_args(arguments)
    env = {**os.environ, **environment(options)}
    try:
        read_settings(env)
        preflight(options)
    except CryptoAIError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    args = command(options)
    return os.execve(args[0], args, env)  # noqa: S606 - this process becomes the server, no shell


def preflight(options: argparse.Namespace) -> None:
    """ConfigError if it cannot listen there or the Bento is unknown, BundleError if the bundle is refused."""
    try:
        ipaddress.ip_address(options.host)
    except ValueError:
        wanted = "must be an address, for example 127.0.0.1 or 0.0.0.0"
        raise ConfigError(f"serving.host: {options.host!r} {wanted}") from None
    with socket.socket(socket.AF_INET6 if ":" in options.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            raise ConfigError(
                f"serving.port: cannot listen on {options.host}:{options.port} ({error.strerror}); "
                f"stop what listens there or choose another: --port {options.port + 10}"
            ) from None
    verify_bundle(options.bundle or _bento_folder(options) / "src" / PACKAGED_BUNDLE, schema_hash=SCHEMA_HASH)


def command(options: argparse.Namespace) -> list[str]:
    """The `bentoml serve` that this process becomes."""
    root = Path(__file__).resolve().parents[1]
    target = [_SERVICE, "--working-dir", str(root)] if options.bundle else [str(_bento_folder(options))]
    where = ["--host", options.host, "--port", str(options.port)]
    return [sys.executable, "-m", "bentoml", "serve", *target, *where, "--timeout-graceful-shutdown", str(_DRAIN_S)]


def environment(options: argparse.Namespace) -> Mapping[str, str]:
    """What the server adds to its environment. One thread a worker: more only fight over the cores.

    A server has a BentoML home of its own: a second one in the same home would wipe the first one's metrics.
    """
    own = options.home / "serving" / f"{options.host.replace(':', '_')}-{options.port}"
    added = {**bento_environment(own), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    if options.bundle:
        added["CRYPTOAI_BUNDLE"] = str(options.bundle.resolve())
    given = {
        "CRYPTOAI__SERVING__WORKERS": options.workers,
        "CRYPTOAI__SERVING__MAX_BODY_BYTES": options.max_body_bytes,
        "CRYPTOAI__SERVING__MAX_BATCH": options.max_batch,
        "CRYPTOAI__EXECUTION__MODEL_TIMEOUT_MS": options.deadline_ms,
    }
    return added | {key: str(value) for key, value in given.items() if value is not None}


def _bento_folder(options: argparse.Namespace) -> Path:
    """The folder of a Bento in its store; BentoML keeps it at bentos/<name>/<version>."""
    name, _, version = options.tag.partition(":")
    folder = options.home / "bentos" / name
    if version == "latest" and (folder / "latest").is_file():
        version = (folder / "latest").read_text().strip()
    if not version or not (folder / version).is_dir():
        raise ConfigError(f"--tag {options.tag}: no such Bento in {options.home}; build it with python -m bentos.build")
    found: Path = (folder / version).resolve()
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bentos.serve", description="Serve a model on HTTP.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bundle", type=Path, help="folder of a trained bundle, served from this checkout")
    source.add_argument("--tag", help="Bento in the store, for example cryptoai:latest")
    parser.add_argument("--home", type=Path, required=True, help="BentoML store and scratch folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--workers", type=int, help="processes (default 1)")
    parser.add_argument("--max-body-bytes", type=int, help="largest request body (default 1000000)")
    parser.add_argument("--max-batch", type=int, help="most histories in one request (default 256)")
    parser.add_argument("--deadline-ms", type=float, help="longest wait before a 503 (default 500)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
