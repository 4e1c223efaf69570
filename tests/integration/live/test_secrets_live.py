"""Keys are never shown: not by objects, errors, their causes, or the log, whatever goes wrong."""

from __future__ import annotations

import logging
import traceback

import pytest
import structlog

from cryptoai.core.errors import CryptoAIError
from cryptoai.core.messages import Side
from cryptoai.execution.adapters.ccxt_link import Login
from cryptoai.testing.exchange.small import Bench

KEY, SECRET = "PLANTEDKEY0123456789", "PLANTEDSECRET9876543210"


def test_planted_secrets_are_found_nowhere(market: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Every kind of failure is provoked with planted keys, and all text that comes of it is searched."""
    caplog.set_level(logging.DEBUG)
    client = market.account(KEY, SECRET)
    venue = market.venue(client, timeout_s=1.0)
    text = [repr(venue), repr(venue._link), repr(Login(KEY, SECRET)), repr(venue._link.scrub)]
    market.send(venue, Side.BUY, "1", "99", decision=100)
    with structlog.testing.capture_logs() as logs:
        for number, kind in enumerate(("drop_ack", "error", "error_after", "maintenance", "clock_skew")):
            market.exchange.faults.add(kind, path="/v1/order" if kind != "clock_skew" else "", seconds=60.0)
            try:
                market.send(venue, Side.BUY, "1", "99.5", decision=number)
            except CryptoAIError as error:
                text += traceback.format_exception(error)
            text += [event.model_dump_json() for event in venue.poll(market.now)]
            market.exchange.faults.heal()
        wrong = market.venue(client, secret=SECRET + "X")
        try:
            market.send(wrong, Side.BUY, "1", "99.5", decision=99)
        except CryptoAIError as error:
            text += traceback.format_exception(error)
        market.exchange.disconnect()
        text += [str(event) for event in wrong.poll(market.now)]
    whole = "\n".join([*text, str(logs), caplog.text])
    assert len(text) > 8
    for planted in (KEY, SECRET):
        assert planted not in whole
    assert "signature=" not in whole.replace("signature=***", "")
