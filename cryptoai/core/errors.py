"""The one error tree. Every layer raises from it, and the composition roots render it once.

    CryptoAIError
    ├── TransientError        retry may help: network, rate limit, a server that restarts
    │   └── ModelUnavailableError  inference late, absent or refused: the kernel takes the safe action
    ├── PermanentError        retry is useless: the user must change something
    │   ├── ConfigError         a key or value of the configuration
    │   ├── DataError           a tape, file or row that cannot be trusted
    │   ├── BundleError         a bundle that is not what its manifest says
    │   └── VenueError          an order or request that the venue refused for good
    └── InvariantError        our own bug: never caught to go on, always reported

A message is one clear sentence that names the field or file, and the fix. Vendor exceptions are
mapped inside the adapter that talks to the vendor and chained with `from`.
This module must never import anything of the project.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "ConfigError",
    "CryptoAIError",
    "DataError",
    "InvariantError",
    "ModelUnavailableError",
    "PermanentError",
    "TransientError",
    "VenueError",
]


class CryptoAIError(Exception):
    """Root of everything that this project raises on purpose."""

    exit_code = 1


class TransientError(CryptoAIError):
    """Trying again may help; `retry_after_s` is the least wait in seconds."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelUnavailableError(TransientError):
    """No usable answer from the model; the only right reaction is the safe action."""


class PermanentError(CryptoAIError):
    """Trying again is useless; the message says what to change."""


class ConfigError(PermanentError, ValueError):
    """A configuration key or value that cannot be used."""

    exit_code = 78  # EX_CONFIG


class DataError(PermanentError, ValueError):
    """Market data that cannot be trusted."""

    exit_code = 65  # EX_DATAERR


class BundleError(PermanentError):
    """A bundle whose content is not what its manifest says."""

    exit_code = 65


class VenueError(PermanentError):
    """The venue refused for good; the order is dead."""


class InvariantError(CryptoAIError):
    """A promise of the design was broken: stop, report, do not go on."""

    exit_code = 70  # EX_SOFTWARE
