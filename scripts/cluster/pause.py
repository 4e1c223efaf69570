"""Makes the pause image, the process that holds a pod's namespaces: a few lines of C in an image of one file.

Called by node.py. Standard library and gcc only, because it is needed before any image can be built.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

from scripts.cluster.layout import PAUSE
from scripts.cluster.shell import run

__all__ = ["ensure_pause"]

SOURCE = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void stop(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGTERM, stop); signal(SIGINT, stop); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


def ensure_pause(archive: Path) -> None:
    """Leaves a docker-archive of the pause image at `archive`."""
    if archive.is_file():
        return
    with tempfile.TemporaryDirectory() as work:
        source, program = Path(work, "pause.c"), Path(work, "pause")
        source.write_text(SOURCE)
        run(["gcc", "-static", "-O2", "-s", "-o", program, source])
        draft = archive.with_suffix(".part")
        draft.write_bytes(_image(_tar({"pause": program.read_bytes()}, mode=0o755)))
    draft.replace(archive)


def _image(layer: bytes) -> bytes:
    """A docker-archive with one layer."""
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"]}, "rootfs": rootfs}
    )
    name = hashlib.sha256(config.encode()).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [PAUSE], "Layers": ["layer.tar"]}])
    return _tar({name: config.encode(), "layer.tar": layer, "manifest.json": manifest.encode()}, mode=0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
