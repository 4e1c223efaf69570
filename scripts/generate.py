"""Writes the files that are a view of the code, so that they cannot say something else than the code does.

Run by hand after a change (`python scripts/generate.py`), and by `make check` with `--check`, which writes nothing and
names what is out of date. A new generated file is one line in `OUTPUTS`. It must never import torch: what it renders is
declared in the deterministic island.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from cryptoai.core.config import Config, Section
from cryptoai.data_universe import lake_docs, schema_docs
from cryptoai.risk_engine import risk_docs
from operators.api import crd, docs

ROOT = Path(__file__).resolve().parent.parent
MADE = "Made by scripts/generate.py from cryptoai/core/config.py; edit that, then run the script."
WIDTH = 110


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Name and class of every section, in the order of the tree."""
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield name, field.annotation


def allowed(field: FieldInfo) -> str:
    """The values a key takes, in words: `10 to 60000`, `one of: limit, market`, `text`."""
    if get_origin(field.annotation) is Literal:
        choices = get_args(field.annotation)
        return f"always {choices[0]}" if len(choices) == 1 else "one of: " + ", ".join(map(str, choices))
    limits = {
        name: value for part in field.metadata for name in LIMITS if (value := getattr(part, name, None)) is not None
    }
    kind = KINDS.get(field.annotation, "text")
    return kind + "".join(f", {LIMITS[name]} {scalar(value)}" for name, value in limits.items())


KINDS: dict[object, str] = {int: "whole number", float: "number", bool: "true or false"}
LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}


def scalar(value: object) -> str:
    """One YAML scalar as a person writes it; safe_load gives the value back."""
    text = repr(value) if isinstance(value, float) else yaml.safe_dump(value).splitlines()[0]
    return text.removesuffix(".0")


def default_yaml() -> str:
    """configs/default.yaml: every key with its default, under a comment that says what it does."""
    lines = [
        *_comment(MADE, ""),
        "# Laid over it, later wins: the file of --config, CRYPTOAI__SECTION__KEY variables, --set section.key=value.",
        "# Secrets have no key here: they come from environment variables or files.",
    ]
    for name, section in sections():
        lines += ["", *_comment(section.__doc__ or "", ""), f"{name}:"]
        for key, field in section.model_fields.items():
            lines += _comment(f"{field.description} Allowed: {allowed(field)}.", "  ")
            lines.append(f"  {key}: {scalar(field.default)}")
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def configuration_md() -> str:
    """docs/configuration.md: the same keys as tables, with the three ways to set one."""
    parts = [f"<!-- {MADE} -->", CONFIGURATION_INTRO]
    for name, section in sections():
        rows = [
            f"| `{name}.{key}` | `{scalar(field.default)}` | {allowed(field)} | {field.description} |"
            for key, field in section.model_fields.items()
        ]
        table = "\n".join(["| key | default | allowed | unit and effect |", "|---|---|---|---|", *rows])
        parts.append(f"## {name}\n\n{section.__doc__}\n\n{table}")
    return "\n\n".join(parts) + "\n"


CONFIGURATION_INTRO = """\
# Configuration

Every key has a default; `configs/default.yaml` lists them all. Values are laid over one another, later wins:

1. the defaults below,
2. the YAML file of `--config` (it may hold only the keys that differ),
3. environment variables: `CRYPTOAI__RISK__MAX_LEVERAGE=3`,
4. `--set risk.max_leverage=3` on the command line.

An unknown key, a wrong type or a value out of bounds ends the command before it does anything, with one line for each
mistake that names the key and, where one was mistyped, the nearest right one. Secrets (API keys, passwords) have no
key: they come from environment variables or files, are never written to YAML and never logged."""

OUTPUTS: list[tuple[Path, Callable[[], str]]] = [
    (Path("configs/default.yaml"), default_yaml),
    (Path("docs/configuration.md"), configuration_md),
    (Path("docs/features.md"), schema_docs.render),
    (Path("docs/data-lake.md"), lake_docs.render),
    (Path("docs/risk.md"), risk_docs.render),
    (Path("charts/cryptoai/crds/tradingbots.yaml"), crd.crd_yaml),
    (Path("docs/tradingbot.md"), docs.render),
]


def stale(root: Path) -> list[Path]:
    """The generated files under `root` that are not what the code says."""
    return [path for path, make in OUTPUTS if not (root / path).is_file() or (root / path).read_text() != make()]


def write(root: Path) -> None:
    for path, make in OUTPUTS:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(make())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; say which files are out of date")
    if not parser.parse_args().check:
        write(ROOT)
        return 0
    old = stale(ROOT)
    for path in old:
        print(f"{path} is out of date. Run: python scripts/generate.py", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    raise SystemExit(main())
