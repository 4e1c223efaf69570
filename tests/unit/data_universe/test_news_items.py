"""Feeds and JSON lines that nobody vouches for: what is read, what is refused, and from when it is known."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.market_events import items
from cryptoai.data_universe.market_events.items import MOST_BYTES, parse, plain_text

NOW = 1_723_000_000 * SECOND  # 2024-08-07 03:06:40
HOUR = 3600 * SECOND

JSON = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.lists(st.integers(), max_size=2),
    st.sampled_from(["2024-13-01", "Tue, 99 Aug 2024", "1e400", "9" * 400, "0001-01-01", "9999-12-31T23:59:59-14:00"]),
)  # fmt: skip

RSS = """<?xml version="1.0"?><rss version="2.0"
xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Feed</title>
<item><title>First &amp; best</title><link>https://a.example/1</link><guid>g1</guid>
<pubDate>Tue, 06 Aug 2024 10:00:00 GMT</pubDate><description><![CDATA[<p>Body <b>bold</b></p>]]></description></item>
<item><title>Second</title><guid>g2</guid><dc:date>2024-08-06T12:00:00+02:00</dc:date></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Feed</title><entry>
<title type="html">&lt;i&gt;Atom&lt;/i&gt;</title>
<id>urn:1</id><link rel="self" href="https://a.example/self"/><link href="https://a.example/2"/>
<updated>2024-08-06T10:00:00Z</updated><summary>Sum</summary></entry></feed>"""


def lines(*records: dict[str, object]) -> bytes:
    return b"\n".join(json.dumps(record).encode() for record in records)


def test_rss_becomes_items() -> None:
    """Title, text without markup, link and time; the text of the channel is not an item."""
    first, second = sorted(parse(RSS.encode(), "feed", NOW).items, key=lambda item: item.title)
    assert (first.title, first.text, first.url) == ("First & best", "Body bold", "https://a.example/1")
    assert first.published == second.published == 1_722_938_400 * SECOND
    assert first.known_at == NOW


def test_atom_becomes_items() -> None:
    """The alternate link, the update as the time, HTML in the title taken off."""
    (item,) = parse(ATOM.encode(), "feed", NOW).items
    assert (item.title, item.text, item.url) == ("Atom", "Sum", "https://a.example/2")


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-16", "windows-1252"])
def test_feeds_say_their_encoding(encoding: str) -> None:
    """What the declaration names is decoded, not guessed."""
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?><rss><channel><item><title>Zürich</title></item></channel></rss>'
    )
    assert parse(text.encode(encoding), "feed", NOW).items[0].title == "Zürich"


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><rss><item><title>&b;</title></item></rss>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><rss/>',
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><rss><item><title>&f;</title></item></rss>',
    ],
    ids=["bomb", "external type", "external entity"],
)
def test_entities_of_a_feed_are_refused(text: str) -> None:
    """Nothing is expanded and no file is opened."""
    with pytest.raises(DataError, match="document type"):
        parse(text.encode(), "feed", NOW)


def test_what_is_no_feed_is_refused() -> None:
    """A page, or nothing that XML knows; but items before a damage are kept and the damage is counted."""
    with pytest.raises(DataError, match="feed is no feed"):
        parse(b"<html><p>404", "feed", NOW)
    with pytest.raises(DataError, match="nested too deep"):
        parse(b"<a>" * 100, "feed", NOW)
    cut = parse(RSS[: RSS.index("<dc:date>")].encode(), "feed", NOW)
    assert [item.title for item in cut.items] == ["First & best"]
    assert cut.refused == {"the feed is damaged from here on": 1}


def test_an_encoding_that_nobody_knows_is_refused() -> None:
    """A name that is none, and one that XML cannot take."""
    for name in ("klingon", "utf-7", "idna"):
        with pytest.raises(DataError, match="feed"):
            parse(f'<?xml version="1.0" encoding="{name}"?><rss/>'.encode(), "feed", NOW)


@pytest.mark.parametrize("piece", ['<a "', "<", "<!--", "<!", "<?", "&#", "</", "<script>", "<![CDATA["])
def test_markup_without_an_end_costs_no_time(piece: str) -> None:
    """One pass: a parser that looks again from every sign would take seconds for this."""
    started = time.perf_counter()
    plain_text(piece * 100_000, 100_000)
    assert time.perf_counter() - started < 1.5


@given(st.binary(max_size=300), st.sampled_from([b"", b"<rss><item><title>", b'<?xml version="1.0" encoding="']))
def test_any_bytes_are_read_or_refused(data: bytes, start: bytes) -> None:
    """Nothing but `DataError` ever leaves."""
    try:
        batch = parse(start + data, "feed", NOW)
    except DataError:
        return
    assert all(item.whole and item.known_at >= item.published for item in batch.items)


@given(st.dictionaries(st.sampled_from(["title", "id", "published", "seen", "scheduled", "url", "source"]), JSON))
def test_any_record_is_read_or_refused(record: dict[str, object]) -> None:
    """Whatever a field holds."""
    batch = parse(json.dumps(record | {"text": "t"}).encode(), "feed", NOW)
    assert len(batch.items) + sum(batch.refused.values()) == 1
    assert all(0 <= item.scheduled < 2**62 for item in batch.items)


def test_markup_is_never_kept() -> None:
    """Scripts and styles vanish with their text, control and direction characters become spaces."""
    assert plain_text("<script>alert(1)</script><style>p{}</style><p onclick='x'>a&lt;b</p>", 99) == "a<b"
    assert plain_text("a\u202eb\x00c\n\td", 99) == "a b c d"
    assert plain_text("x" * 1000, 10) == "x" * 10
    assert plain_text("\ud800", 10) == ""


def test_json_lines_become_items() -> None:
    """Other names of fields, unix times, and a scheduled moment."""
    batch = parse(
        lines(
            {"id": 7, "headline": "Unlock", "body": "soon", "time": 1_722_938_400, "scheduled": "2024-08-10T00:00:00Z"}
        ),
        "wire",
        NOW,
    )
    item = batch.items[0]
    assert (item.title, item.text, item.published) == ("Unlock", "soon", 1_722_938_400 * SECOND)
    assert item.scheduled == 1_723_248_000 * SECOND
    assert item.source == "wire"


def test_a_bad_line_does_not_stop_the_rest() -> None:
    """Each is refused with its reason."""
    data = lines({"title": "good"}, {"title": ""}, {"title": "t", "published": "soonish"}) + b"\n{nope\n[1]\n\xff\xfe\n"
    batch = parse(data, "wire", NOW)
    assert [item.title for item in batch.items] == ["good"]
    assert batch.refused == {
        "an item without text": 1,
        "a time that cannot be read": 1,
        "a line that is no JSON object": 3,
    }


def test_reasons_are_ours() -> None:
    """A record cannot write its own reason; excerpts of what was refused are plain text."""
    batch = parse(lines({"unreadable": "all is well"}) + b"\n<b>nope", "wire", NOW)
    assert batch.refused == {"an item without text": 1, "a line that is no JSON object": 1}
    assert [why for why, _ in batch.quarantine] == ["an item without text", "a line that is no JSON object"]
    assert "nope" in batch.quarantine[1][1]


def test_the_same_id_is_one_item() -> None:
    """Within a batch the first stands; the id does not depend on when it was read."""
    record: dict[str, object] = {"id": "a", "title": "one", "published": "2024-08-06"}
    batch = parse(lines(record, record | {"title": "two"}), "wire", NOW)
    assert [item.title for item in batch.items] == ["one"]
    assert batch.refused == {"said twice": 1}
    assert parse(lines(record), "wire", NOW + HOUR).items[0].id == batch.items[0].id
    assert parse(lines(record), "other", NOW).items[0].id != batch.items[0].id


def test_nothing_is_known_before_it_arrived() -> None:
    """An old text is known now; only a record of its arrival or an archive says otherwise, never before publication."""
    old: dict[str, object] = {"title": "t", "published": "2024-08-01T00:00:00Z"}
    start = 1_722_470_400 * SECOND
    assert parse(lines(old), "w", NOW).items[0].known_at == NOW
    assert parse(lines(old | {"seen": "2024-08-01T00:05:00Z"}), "w", NOW).items[0].known_at == start + 300 * SECOND
    assert parse(lines(old | {"seen": "2024-07-01"}), "w", NOW).items[0].known_at == start
    assert parse(lines(old), "w", NOW, archive_delay_s=60).items[0].known_at == start + 60 * SECOND


@pytest.mark.parametrize(
    ("published", "why"), [("2024-09-01", "published in the future"), ("1970-01-02", "before there was a coin")]
)
def test_an_impossible_time_is_refused(published: str, why: str) -> None:
    """A clock that runs five minutes ahead is allowed."""
    batch = parse(lines({"title": "t", "published": published}), "w", NOW)
    assert (len(batch.items), list(batch.refused)) == (0, [why] if "future" in why else [f"published {why}"])
    assert len(parse(lines({"title": "t", "published": (NOW + 200 * SECOND) // SECOND}), "w", NOW).items) == 1


def test_size_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and items."""
    with pytest.raises(DataError, match="16 MiB"):
        parse(b" " * (MOST_BYTES + 1), "w", NOW)
    monkeypatch.setattr(items, "_MOST_ITEMS", 2)
    batch = parse(lines(*({"title": str(n)} for n in range(5))), "w", NOW)
    assert (len(batch.items), sum(batch.refused.values())) == (2, 3)


def test_a_link_is_a_link() -> None:
    """Other schemes are not kept."""
    assert parse(lines({"title": "t", "url": "javascript:alert(1)"}), "w", NOW).items[0].url == ""
