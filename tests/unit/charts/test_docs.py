"""docs/kubernetes.md is a script: what it names is there. tests/cluster runs it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LINES = [line for block in BLOCK.findall(PAGE) for line in block.splitlines()]


def test_ten_commands_start_a_bot() -> None:
    """As its heading says."""
    start = PAGE.partition("## Ten commands")[2].partition("\n## ")[0]
    assert len([line for block in BLOCK.findall(start) for line in block.splitlines()]) == 10


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_one_whole_command(line: str) -> None:
    """The shell can read it alone; its folders and files exist."""
    assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0
    named = [word for word in shlex.split(line) if re.match(r"^(charts|manifests|scripts|docs)/", word)]
    assert not [word for word in named if not (ROOT / word).exists()]


def test_every_target_of_make_is_there() -> None:
    """Of the Makefile."""
    targets = {word for line in LINES if line.startswith("make ") for word in line.split()[1:]}
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets
    assert targets <= rules


def test_every_value_named_is_a_value_of_the_chart() -> None:
    """In commands and in the table; ROLE stands for an image's."""
    values = yaml.safe_load((ROOT / "charts/cryptoai/values.yaml").read_text())
    table = re.findall(r"`((?:images|redis|operator|rbac|bundles)\.[A-Za-z.]+)", PAGE)
    given = [word for line in LINES if line.startswith("helm") for word in re.findall(r"--set (\S+)", line)]
    paths = [path.partition("=")[0].replace("ROLE", "bot") for path in table + given]
    assert len(paths) > 8
    for path in paths:
        level = values
        for key in path.split("."):
            assert key in level, path
            level = level[key]
