"""A bot's own TradingBot, watched at the API server, and its kill switch obeyed whether an operator runs or not.

The composition root of a bot in a pod starts one `KubeWatch` and hands what it sees to a `KillObeyer`. Plain HTTP: the
image of a bot carries no Kubernetes client. The watch only reads; it must never change an object, and it must never
release a switch that no person released.

The watch is list, then watch from there. The server ends each watch after `_WATCH_S`, so that a half-open connection is
found within seconds: contact is counted from the last byte or the last clean end. Any error, a 410 among them, lists
again after a short wait.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import structlog
import yaml

from cryptoai.core.bundle import canonical_json
from cryptoai.core.clock import Clock
from cryptoai.core.errors import ConfigError, TransientError
from cryptoai.core.ids import content_hash
from cryptoai.risk_engine.kill_switch import KillSwitch

__all__ = ["ApiServer", "KillObeyer", "KubeWatch", "in_cluster", "kubeconfig"]

_PATH = "/apis/cryptoai.dev/v1alpha1/namespaces/{namespace}/tradingbots"
_WATCH_S = 5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 1.0
_MOST_BYTES = 3_000_000

_ANYTHING_SAID = (TransientError, httpx.HTTPError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""Whatever the server says or fails to say: it is asked again, and the silence is counted."""

Seen = Callable[[Mapping[str, Any] | None], None]
"""Called with the whole object each time it is seen, with None when there is none (any more)."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where and how to ask. `token` is called for each request, because mounted tokens change."""

    url: str
    tls: ssl.SSLContext | bool = True
    token: Callable[[], str | None] = lambda: None

    def client(self) -> httpx.Client:
        """No proxy, no redirect, no compression: a compressed watch arrives late."""
        patience = httpx.Timeout(2.0, read=_WATCH_S + 2.0)
        return httpx.Client(
            base_url=self.url,
            verify=self.tls,
            timeout=patience,
            trust_env=False,
            headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "cryptoai-bot"},
        )


def in_cluster(host: str, port: str, folder: Path) -> ApiServer:
    """From inside a pod: the service account that is mounted at `folder` (token, ca.crt)."""
    authority, token = folder / "ca.crt", folder / "token"
    if not authority.is_file() or not token.is_file():
        raise ConfigError(f"no service account is mounted at {folder}; let the pod mount its service account's token")
    name = f"[{host}]" if ":" in host else host
    return ApiServer(
        f"https://{name}:{port}", ssl.create_default_context(cafile=str(authority)), lambda: token.read_text().strip()
    )


def kubeconfig(path: Path) -> ApiServer:
    """From a kubeconfig's current context: a token or a client certificate, in files or inline."""
    try:
        raw = yaml.safe_load(path.read_text())
        context = _named(raw["contexts"], raw["current-context"])["context"]
        cluster = _named(raw["clusters"], context["cluster"])["cluster"]
        user = _named(raw["users"], context["user"])["user"]
        token = user.get("token")
        return ApiServer(cluster["server"], _tls(cluster, user, path.parent), lambda: token)
    except (OSError, KeyError, TypeError, StopIteration, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"kubeconfig {path} cannot be used ({type(error).__name__}: {error})") from error


@dataclass
class KubeWatch:
    """Follows one TradingBot in a thread of its own and calls `seen` from there, in the order of the server."""

    server: ApiServer
    namespace: str
    name: str
    seen: Seen
    _stop: threading.Event = field(default_factory=threading.Event)
    _contact: float | None = None
    _started: float = field(default_factory=time.monotonic)
    _wait: float = _FIRST_WAIT_S
    problem: str = "the API server was not asked yet"

    def start(self) -> None:
        threading.Thread(target=self._run, name="kube-watch", daemon=True).start()

    def stop(self) -> None:
        """The thread ends within one watch; it is a daemon and holds nothing."""
        self._stop.set()

    @property
    def synced(self) -> bool:
        """Whether the object's state was known at least once (also that there is none)."""
        return self._contact is not None

    def silence_s(self) -> float:
        """Seconds since the API server last answered, or since the start if it never did."""
        return time.monotonic() - (self._contact if self._contact is not None else self._started)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        with self.server.client() as client:
            while not self._stop.is_set():
                try:
                    self._follow(client)
                except _ANYTHING_SAID as error:
                    self._complain(error)
                self._stop.wait(self._wait)
                self._wait = min(2 * self._wait, _LONGEST_WAIT_S)

    def _complain(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {error}"[:300]
        if said != self.problem:
            structlog.get_logger().warning("kube_watch_interrupted", bot=self.name, error=said)
        self.problem = said

    def _follow(self, client: httpx.Client) -> None:
        """Lists, then watches for as long as watches end cleanly."""
        version = self._list(client)
        while not self._stop.is_set():
            version = self._watch(client, version)

    def _ask(self, **query: str) -> dict[str, Any]:
        token = self.server.token()
        return {
            "url": _PATH.format(namespace=self.namespace),
            "params": {"fieldSelector": f"metadata.name={self.name}", **query},
            "headers": {"authorization": f"Bearer {token}"} if token else {},
        }

    def _list(self, client: httpx.Client) -> str:
        """The resource version to watch from; what was deleted while nobody watched is noticed here."""
        response = client.get(**self._ask())
        if response.status_code != 200:
            raise TransientError(f"listing tradingbots: {_status(response)}")
        answer = response.json()
        items = [item for item in answer.get("items") or [] if item["metadata"]["name"] == self.name]
        self._saw(items[0] if items else None)
        return str(answer["metadata"]["resourceVersion"])

    def _watch(self, client: httpx.Client, version: str) -> str:
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(_WATCH_S)}
        with client.stream("GET", **self._ask(resourceVersion=version, **query)) as response:
            if response.status_code != 200:
                response.read()
                raise TransientError(f"watching tradingbots: {_status(response)}")
            self._touch()
            for line in _lines(response):
                version = self._event(json.loads(line), version)
                self._wait = _FIRST_WAIT_S
                if self._stop.is_set():
                    break
        self._touch()
        self._wait = _FIRST_WAIT_S
        return version

    def _event(self, event: dict[str, Any], version: str) -> str:
        kind, thing = event["type"], event["object"]
        if kind == "ERROR":
            raise TransientError(f"watching tradingbots: {thing.get('code')} {thing.get('message')}")
        metadata = thing["metadata"]
        if kind == "BOOKMARK" or metadata.get("name") != self.name:
            self._touch()
        else:
            self._saw(None if kind == "DELETED" else thing)
        return str(metadata.get("resourceVersion", version))

    def _saw(self, thing: Mapping[str, Any] | None) -> None:
        """Contact counts once the object was acted on, not before."""
        self.seen(thing)
        self._touch()

    def _touch(self) -> None:
        self._contact, self.problem = time.monotonic(), ""


@dataclass
class KillObeyer:
    """Turns spec.killSwitch into the bot's own latch.

    Engaged engages at once. A release is a person's act and counts once: it needs engaged=false, releasedBy and reason,
    and it must differ from what was last seen; otherwise the words of an old release, still standing in the spec, would
    undo a later latch of the risk engine. What was seen last is kept in `memory`, beside the latch, across restarts.
    Without that memory (a new volume, an object that was made anew) nothing is released.

    A switch that was engaged and taken back while the bot was away is latched all the same: the operator keeps it in
    `status.latch`, and a spec that changed more than once while neither of them looked counts as one that was engaged.
    """

    switch: KillSwitch
    memory: Path
    clock: Clock
    acted: Callable[[], None] = lambda: None

    def obey(self, thing: Mapping[str, Any]) -> None:
        """Engages, releases or does nothing; an unreadable switch engages. DataError if it cannot be saved."""
        order, before, metadata = _order(thing), self._remembered(), thing["metadata"]
        uid, words = str(metadata.get("uid", "")), _words(order)
        before = before if before.get("uid") == uid else {}
        mark = {
            "uid": uid,
            "order": content_hash(canonical_json(order)),
            "generation": metadata.get("generation", 0),
            "held": None,
        }
        if order.get("engaged") is not False:
            self._latch(mark | {"held": words}, words[0] or "no reason given", thing)
        elif found := _held(thing, before, words):
            self._latch(mark | {"held": found[0]}, found[1], thing)
        else:
            self._remember(mark)
            if before and before.get("order") != mark["order"] and all(words):
                self._release(*words)

    def _latch(self, mark: dict[str, Any], reason: str, thing: Mapping[str, Any]) -> None:
        """Remembered first, so that a crash in between latches at the next start; engaged whatever becomes of that."""
        try:
            self._remember(mark)
        finally:
            self._engage(reason, f"TradingBot {_name(thing)}")

    def _release(self, reason: str, person: str) -> None:
        if self.switch.refresh().engaged:
            self.switch.release(reason, person, self.clock.now_ns())
            structlog.get_logger().warning("kill_switch_released", by=person, reason=reason)
            self.acted()

    def lost(self, reason: str) -> None:
        """The watch was silent too long: nobody could stop this bot any more, so it stops itself."""
        self._engage(reason, "watchdog")

    def _engage(self, reason: str, by: str) -> None:
        if self.switch.refresh().engaged:
            return
        self.switch.engage(reason, by, self.clock.now_ns())
        self.acted()
        structlog.get_logger().error("kill_switch_engaged", by=by, reason=reason)

    def _remembered(self) -> dict[str, Any]:
        try:
            raw = json.loads(self.memory.read_text())
        except (OSError, ValueError):
            return {}
        return raw if isinstance(raw, dict) else {}

    def _remember(self, mark: dict[str, Any]) -> None:
        if self._remembered() == mark:
            return
        draft = self.memory.with_name(self.memory.name + ".tmp")
        with draft.open("w") as file:
            file.write(json.dumps(mark) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.memory)


def _order(thing: Mapping[str, Any]) -> dict[str, Any]:
    """spec.killSwitch with its defaults; what is no mapping is taken for an order to stop."""
    order = thing.get("spec", {}).get("killSwitch")
    if order is None:
        order = {}
    if not isinstance(order, Mapping):
        return {"engaged": True, "reason": "spec.killSwitch cannot be read"}
    return {"engaged": False, **order}


def _words(order: Mapping[str, Any]) -> list[str]:
    """Reason and name, "" for what is not given."""
    return [str(order.get(key) or "").strip() for key in ("reason", "releasedBy")]


def _held(thing: Mapping[str, Any], before: Mapping[str, Any], words: list[str]) -> tuple[list[str], str] | None:
    """The words of a latch that `words` do not release, and why it is latched; None if there is none.

    `before` is what this bot remembers of the object, {} if nothing.
    """
    status = thing.get("status") or {}
    latches: list[tuple[list[str], str]] = []
    if before.get("held") is not None:
        latches.append((before["held"], "the kill switch was engaged and not released by name"))
    if status.get("latch") is not None:
        why = str(status["latch"].get("reason") or "the kill switch was engaged")
        latches.append((_words(status["latch"]), f"{why} (engaged while the bot was away)"))
    elif not before and _halted(status):
        latches.append((words, "the operator knows it as halted, and this volume knows nothing"))
    seen = max(int(before.get("generation") or 0), int(status.get("observedGeneration") or 0))
    if before and int(thing["metadata"].get("generation") or 0) > seen + 1:
        latches.append((words, "the spec changed more than once while nobody looked; it may have been engaged"))
    return next(((held, why) for held, why in latches if not all(words) or words == held), None)


def _halted(status: Mapping[str, Any]) -> bool:
    return any(c.get("type") == "Halted" and c.get("status") == "True" for c in status.get("conditions") or ())


def _name(thing: Mapping[str, Any]) -> str:
    metadata = thing["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def _lines(response: httpx.Response) -> Iterator[bytes]:
    """Whole lines, split at newlines and nothing else; a torn one is an error, so that it is listed again."""
    rest = b""
    for part in response.iter_raw():
        *lines, rest = (rest + part).split(b"\n")
        if len(rest) > _MOST_BYTES:
            raise TransientError("watching tradingbots: the server sent a line without an end")
        yield from filter(None, lines)
    if rest.strip():
        raise TransientError("watching tradingbots: the connection ended within an event")


def _status(response: httpx.Response) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return f"{response.status_code} {response.json().get('message', '')}"[:200]
    return str(response.status_code)


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["name"] == name)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext | bool:
    if cluster.get("insecure-skip-tls-verify"):
        raise ValueError("insecure-skip-tls-verify is not accepted; give a certificate-authority")
    context = ssl.create_default_context()
    authority = _material(cluster, "certificate-authority", folder)
    if authority is not None:
        context = ssl.create_default_context(cadata=authority.decode())
    certificate, key = _material(user, "client-certificate", folder), _material(user, "client-key", folder)
    if certificate is not None and key is not None:
        with tempfile.NamedTemporaryFile() as pair:  # the ssl module reads certificates of its own from files only
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _material(holder: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    if f"{key}-data" in holder:
        return base64.b64decode(holder[f"{key}-data"])
    return (folder / holder[key]).read_bytes() if key in holder else None
