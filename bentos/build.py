"""Packages a verified bundle and the serving code as a Bento: `python -m bentos.build --bundle DIR --home DIR`.

Run by the command line as a child process, because BentoML reads its home and its telemetry switch when it is imported.
The last line on stdout is the tag. It must never package a bundle that it has not verified, nor code that trades.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bentos.settings import PACKAGED_BUNDLE
from cryptoai.core.bundle import Manifest, verify_bundle
from cryptoai.core.errors import ConfigError, CryptoAIError
from cryptoai.data_universe.schema import SCHEMA_HASH

__all__ = ["SERVED_PACKAGES", "bento_environment", "build", "main", "stage"]

SERVED_PACKAGES = ("core", "data_universe", "encoders", "world_model", "decision_engine", "black_swan")
"""The packages of `cryptoai` that a server carries; all that a Bento may import."""

_SKIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")


def bento_environment(home: Path) -> dict[str, str]:
    """What BentoML must find in the environment before it is imported."""
    return {"BENTOML_HOME": str(home.resolve()), "BENTOML_DO_NOT_TRACK": "True"}


def stage(bundle: Path, target: Path) -> Manifest:
    """Lays the build context out in the empty folder `target`; BundleError if the copy is not the bundle."""
    root = Path(__file__).resolve().parents[1]
    shutil.copytree(root / "bentos", target / "bentos", ignore=_SKIPPED)
    (target / "cryptoai").mkdir()
    shutil.copy2(root / "cryptoai" / "__init__.py", target / "cryptoai")
    for package in SERVED_PACKAGES:
        shutil.copytree(root / "cryptoai" / package, target / "cryptoai" / package, ignore=_SKIPPED)
    copied = target / PACKAGED_BUNDLE
    shutil.copytree(bundle.resolve(), copied)
    return verify_bundle(copied, schema_hash=SCHEMA_HASH)


def build(bundle: Path, home: Path) -> str:
    """The tag `cryptoai:<version>` of a new Bento in the store at `home`."""
    verify_bundle(bundle, schema_hash=SCHEMA_HASH)
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(bento_environment(home))
    with tempfile.TemporaryDirectory(prefix="cryptoai-bento-") as scratch:
        context = Path(scratch)
        manifest = stage(bundle, context)
        labels = {"revision": manifest.revision, "schema_hash": manifest.schema_hash}
        return _pack(context, labels)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; one sentence on stderr and the error's exit code when it fails."""
    parser = argparse.ArgumentParser(prog="python -m bentos.build", description="Package a bundle as a Bento.")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a trained bundle")
    parser.add_argument("--home", type=Path, required=True, help="BentoML store; outside the bundle and the checkout")
    options = parser.parse_args(arguments)
    try:
        tag = build(options.bundle, options.home)
    except CryptoAIError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or 'bento'}: {error.strerror or error}\n")
        return 74  # EX_IOERR
    sys.stdout.write(f"{tag}\n")
    return 0


def _pack(context: Path, labels: dict[str, str]) -> str:
    from bentoml import bentos
    from bentoml.exceptions import BentoMLException

    try:
        bento = bentos.build_bentofile(
            str(context / "bentos" / "bentofile.yaml"), build_ctx=str(context), labels=labels
        )
    except BentoMLException as error:
        raise ConfigError(f"BentoML could not package the bundle: {error}") from error
    return str(bento.tag)


if __name__ == "__main__":
    sys.exit(main())
