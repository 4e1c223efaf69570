"""What the judge is told beside the decision: the other positions, their tails, and a stop loss of a moment ago."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cryptoai.testing.fakes import make_instrument, make_quote

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
Worlds = Callable[..., Any]
PAIR = (make_instrument("fake:A"), make_instrument("fake:B"))


def moving(n: int, sign: int) -> str:
    """A price that goes up and down by half a per cent."""
    return str(100 + (sign if n % 2 else -sign) * 0.5)


def test_a_stop_loss_is_followed_by_a_pause(world: Worlds) -> None:
    """Closed at 3 % below the entry, the instrument is not entered again for cooldown_s, then it is."""
    bot = world(*["100"] * 3, *["97"] * 30, overrides={"risk": {"cooldown_s": 10.0, "depth_share": 1.0}})
    bot.run(9)
    stopped = [v for v in bot.bodies("verdict") if any(b["limit"] == "stop_loss" for b in v["bounds"])]
    assert stopped
    assert not any(o["time"] > stopped[-1]["time"] and not o["reduce_only"] for o in bot.bodies("order"))
    assert "cooldown" in [b["limit"] for b in bot.bodies("verdict")[-1]["bounds"]]
    bot.run(20)
    later = [o for o in bot.bodies("order") if o["time"] > stopped[-1]["time"] and not o["reduce_only"]]
    assert later
    assert later[0]["time"] >= stopped[-1]["time"] + 10 * SECOND


def test_the_pause_survives_a_restart(world: Worlds) -> None:
    """It is rebuilt from the verdicts of the journal."""
    bot = world(*["100"] * 3, *["97"] * 30, overrides={"risk": {"cooldown_s": 60.0, "depth_share": 1.0}})
    bot.run(6)
    before = bot.kernel._around.stopped
    assert before
    bot.restart()
    assert bot.kernel._around.stopped == before


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, -1.0)])
def test_peers_carry_tail_and_correlation(world: Worlds, sign: int, expected: float) -> None:
    """After thirty rounds the other instrument's co-movement is known, its tail after the first."""
    quotes = [
        make_quote(i, START + n * SECOND, moving(n, 1 if i is PAIR[0] else sign), "10000")
        for n in range(40)
        for i in PAIR
    ]
    bot = world(quotes=quotes, instruments=PAIR, script=lambda _: 0.5)
    bot.run(38)
    kernel = bot.kernel
    context = kernel._around.context("bot", PAIR[0].id, bot.now, (kernel.account, kernel.orders), None, None)
    (peer,) = context.peers
    assert peer.notional > 0
    assert peer.es99_bps == 3.0
    assert peer.correlation == pytest.approx(expected, abs=1e-6)
    assert context.other_notional.value == peer.notional
