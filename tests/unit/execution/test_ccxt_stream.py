"""What is known of a client's stream, and how its news waits for the bot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cryptoai.execution.adapters.ccxt_stream import Inbox, UserStream


def test_an_old_connection_may_end_after_a_new_one_began() -> None:
    """The stream is there while any connection is, and every new one is a reason to ask what was missed."""
    link: Any = SimpleNamespace(client=SimpleNamespace(on_stream=None))
    inbox = Inbox()
    stream = UserStream(link, inbox)
    told = []
    for which, there in ((1, True), (2, True), (1, False), (1, False), (2, False)):
        link.client.on_stream(which, there)
        told.append(stream.connected)
    assert told == [True, True, True, True, False]
    assert [kind for kind, _ in inbox.drain()] == ["connected", "connected", "lost", "lost"]


def test_news_waits_in_order_and_is_given_once() -> None:
    """Whoever waits is woken at once where there is something, and told where there is nothing."""
    inbox = Inbox()
    assert not inbox.wait(0.0)
    inbox.put("order", 1)
    inbox.put("trade", 2)
    assert inbox.wait(0.0)
    assert inbox.drain() == [("order", 1), ("trade", 2)]
    assert inbox.drain() == []
