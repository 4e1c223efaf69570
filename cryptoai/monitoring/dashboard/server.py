"""Runs the dashboard in the foreground with uvicorn, after saying in a sentence when its port is taken.

Called by the command line. SIGINT and SIGTERM end it within a few seconds, whatever browsers are connected.
"""

from __future__ import annotations

import socket

import uvicorn
from starlette.types import ASGIApp

from cryptoai.core.errors import ConfigError

__all__ = ["serve"]


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Until it is told to stop; ConfigError if it cannot listen there."""
    with _listen(host, port) as listener:
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, lifespan="on")
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"dashboard.port: cannot listen on {host}:{port} ({error.strerror}); stop what listens there "
            f"or choose another: --set dashboard.port={port + 10}"
        ) from None
    return listener
