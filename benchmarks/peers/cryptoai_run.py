"""Ours, with a compiled strategy (S0 to S2) and with a Python callback (P0 to P2), as a worker of backtest.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from protocol import Answer, Make, Run, serve

from cryptoai.backtesting.compiled import (
    HELD,
    MARKET,
    POST_ONLY,
    SUBMITTED,
    Delays,
    Desk,
    Session,
    Tapes,
    cancel,
    open_lots,
    order_price,
    prepare,
    submit,
)
from cryptoai.data_universe.events import ASK, BID, EventArray
from cryptoai.data_universe.jit import lean
from cryptoai.data_universe.market_microstructure.book import book_best

DELAY, OFFSET, LIMIT, STEP, TAKE = 10_000_000, 5, 20, 100_000_000, 1_000_000_000
Numbers = tuple[np.ndarray, int, int]


@lean
def nothing(_desk: Desk, _params: Numbers) -> None:
    return


@lean
def quote(desk: Desk, params: Numbers) -> None:
    """The quoting rule: post-only, so many ticks behind the best, no side beyond the limit."""
    mine, offset, limit = params
    bid, ask = book_best(desk.book, BID), book_best(desk.book, ASK)
    if bid == 0 or ask == 0:
        return
    for i in range(2):
        side = 1 - 2 * i
        want = bid - offset if side == BID else ask + offset
        if open_lots(desk, mine[i]) > 0:
            if order_price(desk, mine[i]) == want:
                continue
            cancel(desk, mine[i])
        mine[i] = submit(desk, side, want, 1, POST_ONLY) if side * desk.cells[HELD] < limit else -1


@lean
def take(desk: Desk, _params: Numbers) -> None:
    """A market order each second, buy and sell in turn."""
    if book_best(desk.book, BID) > 0:
        submit(desk, 1 - 2 * (desk.cells[SUBMITTED] % 2), 0, 1, MARKET)


def quote_in_python(session: Session) -> None:
    mine = [-1, -1]
    while session.elapse(STEP):
        bid, ask = session.best
        if not bid or not ask:
            continue
        for i, side in enumerate((1, -1)):
            want = bid - OFFSET if side == BID else ask + OFFSET
            if session.open_lots(mine[i]) > 0:
                if session.order_price(mine[i]) == want:
                    continue
                session.cancel(mine[i])
            mine[i] = session.submit(side, want, 1, POST_ONLY) if side * session.position < LIMIT else -1


def take_in_python(session: Session) -> None:
    while session.elapse(TAKE):
        if session.best[0]:
            session.submit(-1 if session.actions % 2 else 1, 0, 1, MARKET)


def wait_in_python(session: Session) -> None:
    while session.elapse(STEP):
        pass


def answer_of(session: Session) -> Answer:
    """What the run did, for after the clock."""

    def after() -> Answer:
        fills, book = session.fills, session.book
        vwap = float((fills[:, 2] * fills[:, 3]).sum() / fills[:, 3].sum()) if len(fills) else 0.0
        top = [np.stack(book.top(side, 20), axis=1).tolist() for side in (BID, ASK)]
        return {"vwap_ticks": vwap, "position": session.position, "book": top, "rejected": session.rejected}

    return {"actions": session.actions, "fills": len(session.fills), "after": after}


def compiled(tapes: Tapes, strategy: Callable[[Desk, Numbers], None], every: int) -> Make:
    def make() -> Run:
        session = Session(tapes, Delays(DELAY, DELAY))

        def run() -> Answer:
            session.run(strategy, (np.full(2, -1), OFFSET, LIMIT), every)
            return answer_of(session)

        return run

    return make


def called(tapes: Tapes, loop: Callable[[Session], None]) -> Make:
    def make() -> Run:
        session = Session(tapes, Delays(DELAY, DELAY))

        def run() -> Answer:
            loop(session)
            return answer_of(session)

        return run

    return make


def first(tapes: Tapes, share: int) -> Tapes:
    """The first part of both tapes, copied, so that each row is as far away as in the whole."""
    count = len(tapes.known[0]) // share

    def cut(tape: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return tuple(column[:count].copy() for column in tape)

    return Tapes(cut(tapes.exchange), cut(tapes.known))  # type: ignore[arg-type]


def load(path: str) -> tuple[int, Mapping[str, Make]]:
    file = np.load(path)
    columns = (file[name] for name in ("exchange_time", "known_at", "kind", "side", "last", "price", "qty"))
    tapes, rows = prepare(EventArray(*columns)), int(file["rows"])

    def tenth() -> Run:
        return compiled(first(tapes, 10), quote, STEP)()

    return rows, {
        "S0": compiled(tapes, nothing, STEP),
        "S1": compiled(tapes, quote, STEP),
        "S2": compiled(tapes, take, TAKE),
        "P0": called(tapes, wait_in_python),
        "P1": called(tapes, quote_in_python),
        "P2": called(tapes, take_in_python),
        "tenth": tenth,
    }


if __name__ == "__main__":
    serve("cryptoai", load)
