"""The kill switch: engaged by a machine or a person, released by a person, and remembered across restarts.

The kernel engages it and obeys it; the command line and the operator write the same file, which the kernel reads again
at every step. It fails closed: a file that cannot be read, or that vanished, means engaged. A file that was never there
means released, because that is how every bot begins. Nothing in the project may release it by itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cryptoai.core.errors import DataError

__all__ = ["KillAction", "KillState", "KillSwitch"]


class KillAction(StrEnum):
    """`flatten`: cancel all orders and close all positions. `cancel`: cancel all orders; positions may only shrink."""

    FLATTEN = "flatten"
    CANCEL = "cancel"


class KillState(BaseModel):
    """Who set the switch, when (ns UTC), why, and what is to happen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engaged: bool
    reason: str = ""
    by: str = ""
    time: int = Field(default=0, ge=0)
    action: KillAction = KillAction.FLATTEN


class KillSwitch:
    """A latch. With a `path` every change is on disk before it is reported; without one it lives in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._state = KillState(engaged=False)
        self._seen: tuple[int, int, int] | None = None
        if path is not None and not path.exists():
            self._write(self._state)
        self.refresh()

    @property
    def engaged(self) -> bool:
        return self._state.engaged

    @property
    def state(self) -> KillState:
        return self._state

    def refresh(self) -> KillState:
        """Reads the file again if it changed; what cannot be read engages."""
        if self.path is None:
            return self._state
        try:
            seen = self._stamp(self.path)
            if seen != self._seen:
                self._state = KillState.model_validate_json(self.path.read_bytes())
                self._seen = seen
        except (OSError, ValueError) as error:
            self._seen = None
            self._state = KillState(engaged=True, by="kill switch", reason=_unreadable(self.path, error))
        return self._state

    def engage(self, reason: str, by: str, time: int, action: KillAction = KillAction.FLATTEN) -> KillState:
        """Latches; the first reason stays, and the action may only become stricter.

        DataError if it cannot be saved (it is engaged in memory all the same).
        """
        if not self._state.engaged:
            self._state = KillState(engaged=True, reason=reason, by=by, time=time, action=action)
        elif self._state.action is KillAction.CANCEL and action is KillAction.FLATTEN:
            self._state = self._state.model_copy(update={"action": action})
        else:
            return self._state
        self._write(self._state)
        return self._state

    def release(self, reason: str, by: str, time: int) -> KillState:
        """Only for a person: both `reason` and `by` must say something, else DataError."""
        if not reason.strip() or not by.strip():
            raise DataError("the kill switch is released by a person: give a name (by) and a reason")
        state = KillState(engaged=False, reason=reason, by=by, time=time)
        self._write(state)
        self._state = state
        return state

    def _write(self, state: KillState) -> None:
        """Whole or not at all: a temporary file, fsync, rename, fsync of the folder."""
        if self.path is None:
            return
        draft = self.path.with_name(self.path.name + ".tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(state.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
            _sync(self.path.parent)
            self._seen = self._stamp(self.path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise DataError(f"kill switch {self.path}: {error.strerror}; make the folder writable") from error

    @staticmethod
    def _stamp(path: Path) -> tuple[int, int, int]:
        status = path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path.name} cannot be read ({type(error).__name__}); release it by hand once the cause is known"


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
