"""Child processes that cannot outlive their parent: the server, the bot and the dashboard of one command.

Used by `cryptoai demo` and the training launcher. Each child gets its own process group, dies with its parent (Linux's
parent-death signal), and is stopped politely first: SIGTERM, a grace period, then SIGKILL to the whole group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from cryptoai.core.errors import ConfigError, CryptoAIError

__all__ = ["Children", "Interrupted", "interruption", "port_is_free", "require_port", "stop_on_signals"]

_PR_SET_PDEATHSIG = 1
_AGAIN_S = 0.02
_LIBC = ctypes.CDLL(None)
_caught: list[Interrupted] = []


class Interrupted(CryptoAIError):  # noqa: N818 - like KeyboardInterrupt, it is no error
    """SIGINT or SIGTERM: unwind, stop the children, leave."""

    exit_code = 130


@dataclass
class Children:
    """A context: whatever was started inside is gone when it ends."""

    logs: Path
    grace_s: float = 10.0
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts `command` with its output in `logs/name.log`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                list(command),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it makes one system call, nothing else
            )
        return self._running[name]

    def check(self) -> None:
        """CryptoAIError with the end of its log if a child has failed."""
        for name, child in self._running.items():
            code = child.poll()
            if code not in (None, 0):
                raise CryptoAIError(f"{name} stopped with code {code}: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        lines = (self.logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def stop(self) -> None:
        """SIGTERM to every group, then SIGKILL to what is left after the grace period."""
        for child in self._running.values():
            _signal_group(child, signal.SIGTERM)
        for child in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(self.grace_s)
            _signal_group(child, signal.SIGKILL)
            child.wait()
        self._running.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _deaf():
            self.stop()


def stop_on_signals() -> None:
    """From now on SIGINT and SIGTERM raise `Interrupted` in the main thread.

    Python drops an exception that it cannot pass on (in a compiler's callback, in a finaliser); then it is raised anew.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _raise_dropped


def port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def require_port(host: str, port: int, key: str) -> None:
    """ConfigError naming the key if something else listens on `port`."""
    if not port_is_free(host, port):
        other = f"--set {key}={port + 10}"
        raise ConfigError(f"{key}: port {port} on {host} is in use; stop what listens there or choose another: {other}")


def interruption() -> Interrupted | None:
    """The signal that was caught, if any: the exception it raised may have died inside a library's own import."""
    return _caught[0] if _caught else None


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _caught.append(Interrupted(f"stopped by {signal.Signals(number).name}"))
    raise _caught[0]


def _raise_dropped(dropped: sys.UnraisableHookArgs) -> None:
    if isinstance(dropped.exc_value, Interrupted):
        again = threading.Timer(_AGAIN_S, signal.pthread_kill, (threading.main_thread().ident, signal.SIGTERM))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(dropped)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """No second Ctrl-C may cut the clean-up short."""
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
