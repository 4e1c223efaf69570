"""What a bot's pod says of itself: a status that the bot writes and a small standard-library HTTP server reads.

`cryptoai.cli.cluster` owns one of each. GET /healthz: the process makes progress (liveness). GET /readyz: nothing that
the bot needs is missing (readiness). GET /status: JSON for the operator. GET /metrics: how old each feed is,
for Prometheus. It answers nothing else and changes nothing.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["PodStatus", "serve_status"]

_LIVE_S = 180.0


@dataclass
class PodStatus:
    """Facts, each written by one thread. `time` is the bot's time in ns, that of the tape, not the wall clock's.

    `waiting` says what a bot that does not run yet waits for; `problems` what is missing now, by part; either makes the
    bot unready.
    """

    bot: str = ""
    mode: str = ""
    revision: str = ""
    decisions: int = 0
    time: int = 0
    killed: bool = False
    kill_reason: str = ""
    kill_by: str = ""
    ended: bool = False
    waiting: str = "its program to load"
    problems: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._beat = time.monotonic()
        self.feed_ages: dict[str, float] = {}

    def beat(self) -> None:
        """The main thread is alive."""
        self._beat = time.monotonic()

    def live(self) -> bool:
        return time.monotonic() - self._beat < _LIVE_S

    def problem(self, part: str, said: str) -> bool:
        """Notes what is wrong with `part`, or with "" that nothing is; whether that is news."""
        news = self.problems.get(part, "") != said
        others = {name: why for name, why in self.problems.items() if name != part}
        self.problems = others | ({part: said} if said else {})
        return news

    def unready(self) -> str:
        """Why the bot is not ready, in one line; "" if it is."""
        parts = [f"waiting for {self.waiting}"] if self.waiting else []
        return "; ".join([*parts, *(f"{part}: {why}" for part, why in self.problems.items())])

    def metrics(self) -> str:
        """Prometheus' text: the age of each feature group's newest fact at the last decision, +Inf before one."""
        name = "cryptoai_feature_age_seconds"
        head = (
            f"# HELP {name} Time since the newest fact of a feature group at the last decision.\n# TYPE {name} gauge\n"
        )
        ages = sorted(self.feed_ages.items())
        return head + "".join(
            f'{name}{{group="{group}"}} {"+Inf" if age == float("inf") else age}\n' for group, age in ages
        )

    def body(self) -> dict[str, Any]:
        why = self.unready()
        return {**asdict(self), "ready": not why, "reason": why}


def serve_status(status: PodStatus, port: int, host: str = "0.0.0.0") -> ThreadingHTTPServer:  # noqa: S104
    """Answers from daemon threads until the process ends or `shutdown` is called. A pod's probes come from outside."""

    class Handler(_Handler):
        facts = status

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), name="status", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    facts: PodStatus
    timeout = 5
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/healthz":
                live = self.facts.live()
                self._answer(200 if live else 500, {"live": live})
            case "/readyz":
                why = self.facts.unready()
                self._answer(503 if why else 200, {"ready": not why, "reason": why})
            case "/status":
                self._answer(200, self.facts.body())
            case "/metrics":
                self._send(200, "text/plain; version=0.0.4; charset=utf-8", self.facts.metrics().encode())
            case _:
                self._answer(404, {"error": "there is /healthz, /readyz, /status and /metrics"})

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        self._send(code, "application/json", (json.dumps(body, sort_keys=True) + "\n").encode())

    def _send(self, code: int, kind: str, text: bytes) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Probes come every few seconds; they are no news."""
