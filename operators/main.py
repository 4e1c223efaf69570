"""The operator as a process: reads the environment, wires, elects, leads. `python -m operators.main`

A composition root: it decides nothing. It ends with 0 after SIGTERM, and with 1 as soon as it may no longer lead, so
that its pod starts anew as a candidate.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiohttp import web

from cryptoai.core.clock import SystemClock
from cryptoai.core.errors import ConfigError, CryptoAIError
from cryptoai.core.logging import configure_logging
from cryptoai.deployment import Platform
from operators.cluster.access import Access, from_kubeconfig, in_cluster
from operators.cluster.client import Client
from operators.cluster.lease import Election
from operators.cluster.pods import Pods
from operators.handlers.health import Health, application
from operators.handlers.leader import Leader
from operators.handlers.metrics import Metrics

__all__ = ["Environment", "main", "read_environment"]

LEASE = "cryptoai-operator"
log = structlog.get_logger()


@dataclass(frozen=True)
class Environment:
    """What the process was told."""

    access: Access
    platform: Platform
    me: str
    home: str
    namespace: str | None
    health_port: int
    metrics_port: int
    log_level: str


def read_environment(env: Mapping[str, str]) -> Environment:
    """ConfigError names the variable that is missing or wrong."""
    return Environment(
        access=_access(env),
        platform=Platform(
            image_bot=_needed(env, "CRYPTOAI_IMAGE_BOT"),
            image_serve=_needed(env, "CRYPTOAI_IMAGE_SERVE"),
            redis=_needed(env, "CRYPTOAI_REDIS"),
            pull_policy=_policy(env.get("CRYPTOAI_IMAGE_PULL_POLICY") or "IfNotPresent"),
            pull_secrets=tuple(filter(None, env.get("CRYPTOAI_IMAGE_PULL_SECRETS", "").split(","))),
        ),
        me=_needed(env, "POD_NAME"),
        home=_needed(env, "POD_NAMESPACE"),
        namespace=env.get("CRYPTOAI_NAMESPACE") or None,
        health_port=_port(env, "CRYPTOAI_LISTEN_HEALTH", 8083),
        metrics_port=_port(env, "CRYPTOAI_LISTEN_METRICS", 8084),
        log_level=env.get("CRYPTOAI_LOG_LEVEL") or "info",
    )


def _access(env: Mapping[str, str]) -> Access:
    if path := env.get("KUBECONFIG"):
        return from_kubeconfig(Path(path))
    host = env.get("KUBERNETES_SERVICE_HOST")
    if not host:
        raise ConfigError("not in a cluster (KUBERNETES_SERVICE_HOST is not set): give KUBECONFIG")
    return in_cluster(host, env.get("KUBERNETES_SERVICE_PORT") or "443")


def _needed(env: Mapping[str, str], name: str) -> str:
    value = env.get(name)
    if not value:
        raise ConfigError(f"environment variable {name} is not set; the chart sets it")
    return value


def _policy(value: str) -> str:
    if value not in ("Always", "IfNotPresent", "Never"):
        raise ConfigError(f"CRYPTOAI_IMAGE_PULL_POLICY = {value!r} is not one of Always, IfNotPresent, Never")
    return value


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    """Names end in no _PORT: Kubernetes gives every pod such variables, named after the Services around it."""
    text = env.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise ConfigError(f"{name} = {text!r} is not a port, 1 to 65535")
    return int(text)


@contextlib.asynccontextmanager
async def _served(environment: Environment, health: Health, metrics: Metrics) -> AsyncIterator[None]:
    """Probes and metrics, each on its port."""
    runner = web.AppRunner(application(health, metrics), access_log=None)
    await runner.setup()
    try:
        for port in sorted({environment.health_port, environment.metrics_port}):
            await _listening(runner, port)
        yield
    finally:
        await runner.cleanup()


async def _listening(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - the kubelet and Prometheus come from outside
    except OSError as error:
        raise ConfigError(
            f"cannot listen on port {port} ({error.strerror}); set CRYPTOAI_LISTEN_HEALTH, CRYPTOAI_LISTEN_METRICS"
        ) from None


async def run(environment: Environment) -> int:
    """Candidate, then leader, then the end."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def arm() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    arm()
    health, metrics, clock = Health(loop.time), Metrics(), SystemClock()
    health.lease()
    async with (
        Client(environment.access) as client,
        Pods() as pods,
        _served(environment, health, metrics),
    ):
        election = Election(client, (environment.home, LEASE), environment.me, clock)
        election.beat = health.lease
        if not await _elected(election, stop):
            return 0
        log.info("leading", holder=environment.me)
        leader = Leader(
            environment.access,
            client,
            pods,
            election,
            environment.platform,
            clock,
            health,
            metrics,
            environment.home,
            environment.namespace,
            arm=arm,
        )
        clean = await leader.run(stop)
    return 0 if clean else 1


async def _elected(election: Election, stop: asyncio.Event) -> bool:
    """False when told to stop before."""
    campaign, stopped = asyncio.create_task(election.acquire()), asyncio.create_task(stop.wait())
    await asyncio.wait([campaign, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not campaign.done():
        campaign.cancel()
        return False
    campaign.result()
    return True


def main() -> int:
    try:
        environment = read_environment(os.environ)
        configure_logging(level=environment.log_level, json=True)
        logging.getLogger("kopf").setLevel(logging.WARNING)
        return asyncio.run(run(environment))
    except CryptoAIError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
