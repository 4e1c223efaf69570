"""Following a journal that somebody else writes, cuts, damages or replaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryptoai.core.journal import Journal
from cryptoai.monitoring import follower
from cryptoai.monitoring.follower import Follower


def write(path: Path, *numbers: int) -> None:
    with Journal(path, durable=False) as journal:
        for number in numbers:
            journal.append("alert", number, {"n": number})


def times(found: follower.News) -> list[int]:
    return [record.time for record in found.records]


def test_each_record_comes_once(tmp_path: Path) -> None:
    """Before the file exists, when it starts, and when it grows."""
    path = tmp_path / "j"
    tail = Follower(path)
    assert times(tail.poll()) == []
    assert not tail.source.exists
    write(path, 1, 2)
    assert times(tail.poll()) == [1, 2]
    write(path, 3)
    assert times(tail.poll()) == [3]
    assert times(tail.poll()) == []
    assert tail.source.offset == tail.source.size == path.stat().st_size


def test_a_torn_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    """Half a record is no record and no damage."""
    path = tmp_path / "j"
    write(path, 1, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    tail = Follower(path)
    assert times(tail.poll()) == [1]
    assert tail.source.error is None
    path.write_bytes(whole)
    assert times(tail.poll()) == [2]


def test_damage_stops_it_until_the_file_is_replaced(tmp_path: Path) -> None:
    """What came before the damage is shown, nothing after it; a new run's file starts afresh."""
    path = tmp_path / "j"
    write(path, 1, 2, 3)
    path.write_bytes(path.read_bytes().replace(b'"n":2', b'"n":5'))
    tail = Follower(path)
    assert times(tail.poll()) == [1]
    assert "changed" in (tail.source.error or "")
    assert times(tail.poll()) == []
    write(tmp_path / "fresh", 7)
    (tmp_path / "fresh").replace(path)
    news = tail.poll()
    assert (times(news), news.restarted, tail.source.error) == ([7], True, None)


def test_a_file_that_goes_away_is_forgotten(tmp_path: Path) -> None:
    """And read from its start when it comes back."""
    path = tmp_path / "j"
    write(path, 1)
    tail = Follower(path)
    tail.poll()
    path.unlink()
    assert tail.poll().restarted
    write(path, 4)
    assert times(tail.poll()) == [4]


def test_a_long_journal_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part says that there is more, and the last one that there is not."""
    monkeypatch.setattr(follower, "_CHUNK", 400)
    path = tmp_path / "j"
    write(path, *range(30))
    tail, found, polls = Follower(path), [], 0
    while (news := tail.poll()).more:
        found += times(news)
        polls += 1
    assert found + times(news) == list(range(30))
    assert polls > 3


def test_a_folder_is_said_to_be_unreadable(tmp_path: Path) -> None:
    """An error of the system becomes a sentence, not a crash."""
    tail = Follower(tmp_path)
    tail.poll()
    assert tail.source.error is not None
