"""Feeds from files and addresses: limits on size, time and where a redirect may lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryptoai.core.errors import ConfigError, CryptoAIError, DataError, TransientError
from cryptoai.data_universe.adapters import feeds
from cryptoai.data_universe.adapters.feeds import read_feed
from cryptoai.testing.loopback import Answer, Asked, loopback


def test_a_file_and_an_address_give_the_same(tmp_path: Path) -> None:
    """The bytes, whatever they are; redirects on the same host are followed."""
    (tmp_path / "feed.xml").write_bytes(b"<rss/>")
    assert read_feed(str(tmp_path / "feed.xml")) == b"<rss/>"

    def reply(asked: Asked) -> Answer:
        return Answer(status=301, headers={"Location": "/new"}) if asked.path == "/old" else Answer(b"<rss/>")

    with loopback(reply) as server:
        assert read_feed(f"{server.url}/old") == b"<rss/>"


@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        (Answer(status=503), TransientError, "503"),
        (Answer(status=404), DataError, "404"),
        (Answer(hang=True), TransientError, "did not answer"),
        (Answer(b"<rss", promised=100), TransientError, "did not answer"),
        (Answer(status=302, headers={"Location": "http://169.254.169.254/x"}), DataError, "another host"),
        (Answer(status=302, headers={"Location": "file:///etc/passwd"}), DataError, "another host"),
        (Answer(status=302, headers={"Location": "/again"}), DataError, "more than 3 times"),
    ],
    ids=["down", "absent", "silent", "cut", "metadata", "file", "circle"],
)
def test_a_bad_address_is_one_sentence(answer: Answer, kind: type[CryptoAIError], why: str) -> None:
    """What may pass on another try is told from what will not."""
    with loopback(lambda _: answer) as server, pytest.raises(kind, match=why):
        read_feed(server.url, timeout_s=0.3)


def test_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While reading, not after."""
    monkeypatch.setattr(feeds, "MOST_BYTES", 1000)
    (tmp_path / "large").write_bytes(b"x" * 1001)
    with pytest.raises(DataError, match="larger than"):
        read_feed(str(tmp_path / "large"))
    with loopback(lambda _: Answer(b"x" * 5000)) as server, pytest.raises(DataError, match="more than"):
        read_feed(server.url)


def test_other_places_are_refused(tmp_path: Path) -> None:
    """Neither a scheme that is not the web's nor a file that is not there."""
    with pytest.raises(ConfigError, match="ftp"):
        read_feed("ftp://host/feed")
    with pytest.raises(DataError, match="cannot be read"):
        read_feed(str(tmp_path / "absent"))
