"""The HTTP source against a server that is slow, busy, broken or hostile."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from cryptoai.core.clock import SECOND, ReplayClock
from cryptoai.core.errors import ConfigError, CryptoAIError, DataError, TransientError
from cryptoai.data_universe.adapters.http_onchain import COIN_METRICS, HttpOnChain, Patience
from cryptoai.data_universe.onchain.metrics import METRIC_NAMES
from cryptoai.testing.loopback import Answer, Asked, Loopback, loopback

NOW = 1_704_326_400 * SECOND  # 2024-01-04
START = NOW - 3 * 86_400 * SECOND
GOOD = Answer(json.dumps({"data": [{"asset": "btc", "time": "2024-01-01", "SOPR": "1.01"}]}).encode())


class Script:
    """Answers in turn, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)

    def __call__(self, _asked: Asked) -> Answer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def read(
    reply: Callable[[Asked], Answer], token: str = "", attempts: int = 4, timeout_s: float = 5
) -> tuple[int, list[float], Loopback]:
    """Rows, the waits between tries, and what the server saw."""
    waits: list[float] = []
    patience = Patience(timeout_s=timeout_s, attempts=attempts, longest_wait_s=30, sleep=waits.append)
    with loopback(reply) as server:
        source = HttpOnChain(server.url + "/v4", ReplayClock(NOW), names=COIN_METRICS, token=token, patience=patience)
        try:
            return len(source.read("BTC", ["sopr"], START, NOW)), waits, server
        finally:
            source.close()


def test_the_request_is_the_agreed_one() -> None:
    """Path, provider's metric name, span, page size, and the token in a header, not in the address."""
    rows, waits, server = read(Script(GOOD), token="t0p")
    asked = server.asked[0]
    assert (rows, waits, asked.path) == (1, [], "/v4/timeseries/asset-metrics")
    assert asked.query["assets"] == "btc"
    assert asked.query["metrics"] == "SOPR"
    assert asked.query["start_time"].startswith("2024-01-01T00:00:00")
    assert asked.headers["authorization"] == "Bearer t0p"
    assert "t0p" not in str(asked.query)


def test_a_busy_server_says_how_long_to_wait() -> None:
    """`Retry-After` as seconds and as a date; more than the schedule, never less."""
    date = "Thu, 04 Jan 2024 00:00:09 GMT"
    busy = [Answer(status=429, headers={"Retry-After": after}) for after in ("7", date, "nonsense")]
    rows, waits, _ = read(Script(*busy, GOOD))
    assert rows == 1
    assert waits == [7.0, 9.0, 2.0]


def test_broken_answers_are_asked_for_again() -> None:
    """5xx, a body that ends early: half a second, then double."""
    rows, waits, _ = read(Script(Answer(status=503), Answer(b'{"da', promised=99), Answer(status=500), GOOD))
    assert rows == 1
    assert waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "tries"),
    [(Answer(status=502), 3), (Answer(hang=True), 3), (Answer(status=429, headers={"Retry-After": "3600"}), 1)],
    ids=["down", "silent", "come back in an hour"],
)
def test_patience_ends(answer: Answer, tries: int) -> None:
    """After the last try the error says that trying later may help; a wait beyond reason is not waited for."""
    with pytest.raises(TransientError, match=r"127\.0\.0\.1") as caught:
        read(Script(answer), attempts=3, timeout_s=0.1)
    assert caught.value.retry_after_s in (0.0, 3600.0)
    patience = Patience(timeout_s=0.1, attempts=3, longest_wait_s=30, sleep=lambda _: None)
    with loopback(Script(answer)) as server, pytest.raises(TransientError):
        HttpOnChain(server.url, ReplayClock(NOW), patience=patience).read("BTC", ["sopr"], START, NOW)
    assert len(server.asked) == tries


@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        (Answer(status=401), ConfigError, "token"),
        (Answer(status=404), DataError, "404"),
        (Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}), DataError, "302"),
        (Answer(b"<html>"), DataError, "no JSON"),
        (Answer(b'{"rows": []}'), DataError, "data: Field required"),
        (Answer(b'{"data": [{"time": ["x"]}]}'), DataError, "data.0.time"),
        (Answer(b'{"data": [], "next_page_url": "http://example.com/x"}'), DataError, "another host"),
    ],
    ids=["token", "absent", "redirect", "html", "no data", "bad row", "stranger"],
)
def test_an_answer_that_no_try_mends(answer: Answer, kind: type[CryptoAIError], why: str) -> None:
    """One request, and a message that says what to look at."""
    waits: list[float] = []
    patience = Patience(timeout_s=5, sleep=waits.append)
    with loopback(Script(answer)) as server, pytest.raises(kind, match=why):
        HttpOnChain(server.url, ReplayClock(NOW), patience=patience).read("BTC", ["sopr"], START, NOW)
    assert len(server.asked) == 1
    assert waits == []


def test_pages_in_a_circle_end() -> None:
    """A page that points to itself would be read for ever."""

    def circle(asked: Asked) -> Answer:
        return Answer(
            json.dumps({"data": [], "next_page_url": f"http://{asked.headers['host']}{asked.path}?page=2"}).encode()
        )

    with pytest.raises(DataError, match="circle"):
        read(circle)


def test_a_page_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded whatever is sent."""
    monkeypatch.setattr("cryptoai.data_universe.adapters.http_onchain._PAGE_BYTES", 1000)
    with pytest.raises(DataError, match="larger than"):
        read(Script(Answer(b" " * 5000)))


def test_an_address_that_is_none() -> None:
    """Said before anything is asked; and every name that is translated is one of ours."""
    with pytest.raises(ConfigError, match="ftp"):
        HttpOnChain("ftp://host", ReplayClock(NOW))
    assert set(COIN_METRICS) <= set(METRIC_NAMES)
