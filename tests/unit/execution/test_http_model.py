"""The client of the inference server: every doubt is ModelUnavailableError, and nothing is asked twice."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cryptoai.core.errors import ConfigError, ModelUnavailableError
from cryptoai.core.state import StateVector
from cryptoai.execution.adapters.http_model import HttpModel
from cryptoai.testing.fakes import make_inference

GOOD = make_inference(0.5)


def state(value: float = 1.0) -> StateVector:
    return StateVector.of("a:B", (1, 2), GOOD.schema_hash, [value, 0.0], [True, False])


@dataclass
class Server:
    """A real HTTP server that says what it is told to say."""

    reply: Callable[[BaseHTTPRequestHandler], None]
    bodies: list[bytes] = field(default_factory=list)
    peers: set[tuple[str, int]] = field(default_factory=set)
    url: str = ""


def say(status: int, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(say(200, GOOD.model_dump_json().encode()))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            made.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            made.peers.add(self.client_address)
            made.reply(self)

        def do_GET(self) -> None:
            made.reply(self)

        def log_message(self, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        made.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield made
        http.shutdown()
        thread.join()


def test_an_answer_is_returned_over_one_connection(server: Server) -> None:
    """The history travels oldest first, a missing value as null, on a connection that is kept."""
    with HttpModel(server.url, 2.0, GOOD.revision) as model:
        assert model.decide([state(1.0), state(2.0)]) == GOOD
        assert model.decide([state()]) == GOOD
    sent = json.loads(server.bodies[0])
    assert sent == {
        "instrument": "a:B",
        "known_at": 2,
        "schema_hash": GOOD.schema_hash,
        "history": [[1.0, None], [2.0, None]],
    }
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"oops", "500"),
        (503, b'{"error": "no answer within the deadline of 0.5 s"}', "deadline of 0.5 s"),
        (422, b'{"error": "history[0][0]: must be finite"}', "history[0][0]"),
        (302, b"", "302"),
        (200, b"", "not usable"),
        (200, b"[]", "not usable"),
        (200, b'{"action": NaN}', "not usable"),
        (200, json.dumps(GOOD.body() | {"var99_bps": None}).encode(), "var99_bps"),
        (200, json.dumps(GOOD.body() | {"revision": "other"}).encode(), "revision other"),
        (200, json.dumps(GOOD.body() | {"schema_hash": "other"}).encode(), "schema"),
        (200, b" " * 1_100_000, "too much"),
    ],
)
def test_whatever_is_not_a_good_answer_is_unavailable(server: Server, status: int, body: bytes, said: str) -> None:
    """One request, one error, with the server's own reason where it gave one."""
    server.reply = say(status, body)
    with (
        HttpModel(server.url, 2.0, GOOD.revision) as model,
        pytest.raises(ModelUnavailableError, match=re.escape(said)),
    ):
        model.decide([state()])
    assert len(server.bodies) == 1


def test_a_late_answer_is_given_up_and_not_asked_again(server: Server) -> None:
    """The wait ends with the deadline; the server saw one request."""
    gate = threading.Event()
    server.reply = lambda handler: (gate.wait(5), handler.close_connection)[1]
    with HttpModel(server.url, 0.05) as model, pytest.raises(ModelUnavailableError, match=r"within 0\.05 s"):
        model.decide([state()])
    gate.set()
    assert len(server.bodies) == 1


def test_an_answer_that_drips_is_late(server: Server) -> None:
    """Bytes that keep coming do not extend the deadline."""
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100000")
        handler.end_headers()
        for _ in range(400):
            handler.wfile.write(b" ")
            if stop.wait(0.02):
                break
        handler.close_connection = True

    server.reply = drip
    with HttpModel(server.url, 0.1) as model, pytest.raises(ModelUnavailableError, match="too slowly"):
        model.decide([state()])
    stop.set()


def test_a_server_that_is_gone_is_unavailable() -> None:
    """Refused at once, and not ready."""
    with HttpModel("http://127.0.0.1:9", 1.0) as model:
        assert not model.ready()
        with pytest.raises(ModelUnavailableError, match="cannot be reached"):
            model.decide([state()])


def test_ready_asks_for_the_wanted_revision(server: Server) -> None:
    """Another bundle is not ready for this bot."""
    server.reply = say(200, json.dumps({"status": "ok", "revision": "other"}).encode())
    with HttpModel(server.url, 1.0, "other") as right, HttpModel(server.url, 1.0, "mine") as wrong:
        assert right.ready()
        assert not wrong.ready()
    server.reply = say(503, b"{}")
    with HttpModel(server.url, 1.0) as model:
        assert not model.ready()


def test_nothing_is_asked_about_a_state_that_is_not_finite(server: Server) -> None:
    """A NaN inside a state is not silently turned into a missing value."""
    bad = StateVector("a:B", 1, 2, GOOD.schema_hash, b"\x00\x00\xc0\x7f" + b"\0" * 4, b"\x01\x00")
    with HttpModel(server.url, 1.0) as model:
        for history in ([bad], []):
            with pytest.raises(ModelUnavailableError):
                model.decide(history)
    assert not server.bodies


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", ""])
def test_a_url_that_cannot_be_one_is_refused(url: str) -> None:
    """At once, not at the first decision."""
    with pytest.raises(ConfigError, match="model URL"):
        HttpModel(url, 1.0)
