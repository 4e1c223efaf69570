"""Signals: what they interrupt, and that nothing on the way can lose one."""

from __future__ import annotations

import subprocess
import sys

LOSES_IT = """
import ctypes, os, signal, sys, time
from cryptoai.cli.children import Interrupted, stop_on_signals

stop_on_signals()
callback = ctypes.CFUNCTYPE(None)(lambda: [os.kill(os.getpid(), signal.SIGTERM), sum(range(1000))])
try:
    callback()
    time.sleep(20)
except Interrupted as stop:
    sys.exit(str(stop))
"""


def test_a_signal_that_a_compilers_callback_drops_is_raised_anew() -> None:
    """Python cannot pass an exception through C; it would print it, and the command would run on for ever."""
    ended = subprocess.run([sys.executable, "-c", LOSES_IT], capture_output=True, text=True, timeout=15, check=False)

    assert ended.stderr == "stopped by SIGTERM\n"
