"""One WebSocket of the local exchange and what a dialect must do to be served.

`server` knows dialects by `Dialect` alone. It must never know a venue by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from cryptoai.testing.exchange.client import Client, Told
from cryptoai.testing.exchange.floor import Floor
from cryptoai.testing.exchange.wire import Asked, WireError

__all__ = ["Dialect", "Stream"]


class Stream:
    """What a client listens to, by `names`, and whose news it gets, if anybody's."""

    def __init__(self, socket: Any, dialect: Dialect, owner: Client | None = None) -> None:
        self.socket, self.dialect, self.owner = socket, dialect, owner
        self.names: set[str] = set()
        self.held: list[str] = []


class Dialect(Protocol):
    """One venue's words for a floor. `prefix` begins the paths of its REST requests."""

    floor: Floor
    prefix: str
    weight_limit: int

    def answer(self, asked: Asked) -> Any:
        """The reply to a request; WireError where the venue refuses."""
        ...

    def weight(self, asked: Asked) -> int:
        """Units that a request costs; WireError for one that the venue does not know."""
        ...

    def error(self, error: WireError) -> Any:
        """Body of a refusal."""
        ...

    def too_many(self, weight_limit: int) -> WireError:
        """The refusal of a request beyond the limit; a status of 429 becomes 418 for who is banned."""
        ...

    def unavailable(self) -> Any:
        """Body of a 5xx."""
        ...

    def machine_ms(self) -> int:
        """The venue's clock, with its skew."""
        ...

    def hears(self, path: str) -> bool:
        """Whether a WebSocket at this path is one of the venue's."""
        ...

    def greet(self, stream: Stream, path: str, query: dict[str, str]) -> None:
        """Finds out whose a new stream is."""
        ...

    def heard(self, stream: Stream, asked: dict[str, Any]) -> list[Any]:
        """Takes in what a client says on its stream; the replies."""
        ...

    def left(self, stream: Stream) -> None:
        """A stream is gone."""
        ...

    def public_messages(self) -> Iterator[tuple[str, Any]]:
        """(stream name, message) of what changed in the markets since the last call."""
        ...

    def private_messages(self, client: Client, told: Told) -> list[Any]:
        """What a client's stream says of one event."""
        ...
