"""The shape of the code: small files, a reason in each, a pinned surface, and light imports where they are promised."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    p for top in ("cryptoai", "operators", "bentos", "feature_repo", "scripts") for p in (ROOT / top).rglob("*.py")
)
HEAVY = (
    "numpy",
    "torch",
    "pandas",
    "polars",
    "pyarrow",
    "numba",
    "scipy",
    "feast",
    "bentoml",
    "ccxt",
    "kubernetes",
    "kopf",
)

TABLES = ("cryptoai/data_universe/schema.py",)  # one line a feature: a list to look things up in, not steps to follow

SURFACE = {
    "bundle": "MANIFEST Manifest canonical_json file_hash tensor_hashes verify_bundle",
    "closing": "Closing",
    "clock": "MS SECOND Clock ReplayClock SystemClock iso",
    "config": (
        "BacktestConfig Config DashboardConfig DataConfig ExecutionConfig FeaturesConfig ModelConfig RiskConfig "
        "Section ServingConfig TrainingConfig build keys merge nest"
    ),
    "errors": (
        "BundleError ConfigError CryptoAIError DataError InvariantError ModelUnavailableError PermanentError "
        "TransientError VenueError"
    ),
    "ids": "CLIENT_ORDER_PREFIX client_order_id content_hash parse_instrument",
    "instruments": "Contract FeeTier Instrument LeverageBracket",
    "journal": "GENESIS Journal Record decode encode read_journal",
    "logging": "HIDDEN configure_logging redact scrub",
    "messages": (
        "SAFE_ACTION AccountView Action Alert Bound Conditions Equity Fill Funding Inference Liquidation Message "
        "OrderKind OrderRequest OrderStatus OrderUpdate Proposal Quote Severity Side Verdict"
    ),
    "money": "EXACT Money Price Quantity whole_steps",
    "state": "StateVector",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_core_has_these_modules() -> None:
    """A new word of the shared language is added to this table on purpose."""
    assert {p.stem for p in (ROOT / "cryptoai/core").glob("*.py")} - {"__init__"} == set(SURFACE)


@pytest.mark.parametrize("module", sorted(SURFACE))
def test_the_surface_of_core_is_pinned(module: str) -> None:
    """`__all__` is what others may use, and all of it exists."""
    loaded = importlib.import_module(f"cryptoai.core.{module}")
    assert sorted(loaded.__all__) == sorted(SURFACE[module].split())
    assert all(hasattr(loaded, name) for name in loaded.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    """Five hundred lines a file, sixty a function; past that a part of it wants its own name."""
    text = path.read_text()
    assert text.count("\n") <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and name_of(path) not in TABLES:
            size = (node.end_lineno or 0) - node.lineno + 1
            assert size <= 60, f"{name_of(path)}: {node.name} has {size} lines"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.read_text().strip()], ids=name_of)
def test_every_module_says_why_it_exists(path: Path) -> None:
    """The first line is a sentence."""
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, f"{name_of(path)} has no docstring"
    assert text.strip().endswith((".", ":", "`", '"', ")")) or "\n" in text


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if p.is_relative_to(ROOT / "cryptoai") and p.stem not in ("__init__", "__main__")],
    ids=name_of,
)
def test_every_module_pins_its_surface(path: Path) -> None:
    """A module without `__all__` has no promise that can be kept."""
    names = {
        t.id
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign)
        for t in node.targets
        if isinstance(t, ast.Name)
    }
    assert "__all__" in names, f"{name_of(path)} has no __all__"


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("; ".join(f"import cryptoai.core.{module}" for module in sorted(SURFACE)), ()),
        ("import cryptoai.cli", ()),
        ("import runpy; runpy.run_path('scripts/generate.py', run_name='generate')", ("numpy", "numba", "scipy")),
    ],
    ids=["core", "cli", "generate"],
)
def test_light_imports_stay_light(statement: str, allowed: tuple[str, ...]) -> None:
    """A fresh interpreter that imports it has loaded none of the heavy libraries."""
    banned = [name for name in HEAVY if name not in allowed]
    code = f"import sys; sys.path.insert(0, '.'); {statement}; print(*[n for n in {banned!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_generated_files_are_up_to_date() -> None:
    """configs/, docs/ and what else is a view of the code say what the code says."""
    done = subprocess.run(
        [sys.executable, "scripts/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
