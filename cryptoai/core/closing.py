"""What holds a file or a connection can be used in a `with` block: its end closes it, whatever happened inside.

A mixin for the journal, the state log and the clients of venues and models. It must never swallow an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Closing"]


class Closing(ABC):
    """`with made as thing:` calls `thing.close()` at the end."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Lets go of what is held; twice is no error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
