"""`python -m cryptoai.main --mode backtest|shadow|paper|live`: the bot as one process, for containers and scripts.

A second door to the code behind `cryptoai backtest` and `cryptoai bot`; it parses flags and calls them, nothing more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cryptoai.cli.console import fail_in_one_sentence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    return fail_in_one_sentence(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cryptoai.main", description="Run a trading bot in one of four modes."
    )
    parser.add_argument("--mode", choices=["backtest", "shadow", "paper", "live"], help="default: execution.mode")
    parser.add_argument("--config", type=Path, help="YAML file; default: the built-in defaults")
    parser.add_argument("--assets", nargs="+", default=["BTCUSDT"], metavar="ASSET", help="what to trade, by symbol")
    parser.add_argument("--model", help="bundle folder, a link to one, or the URL of an inference server")
    parser.add_argument("--out", type=Path, help="folder for the journal and the report; default: var/MODE")
    parser.add_argument(
        "--speed", type=float, default=0.0, help="replay speed, 1 = as recorded, 0 = as fast as possible"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a configuration key")
    return parser


def _run(args: argparse.Namespace) -> int:
    from cryptoai.cli.backtest import backtest
    from cryptoai.cli.bot import run_bot
    from cryptoai.cli.settings import load_config

    overrides = [*args.set, *([f"execution.mode={args.mode}"] if args.mode else [])]
    config = load_config(args.config, overrides)
    out = args.out or Path("var") / config.execution.mode
    if config.execution.mode == "backtest":
        return backtest(config, args.assets, args.model, out)
    return run_bot(config, args.assets, args.model, out, speed=args.speed)


if __name__ == "__main__":
    sys.exit(main())
