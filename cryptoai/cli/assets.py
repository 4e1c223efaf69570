"""`cryptoai data assets`: what a venue says of its instruments today, kept beside what it said before.

Writes only the registry file of the lake. Keys come from CRYPTOAI_API_KEY and CRYPTOAI_API_SECRET; they are needed for
Binance's leverage brackets only, and reading is all that is done with them.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cryptoai.cli.console import err, out
from cryptoai.cli.settings import load_config
from cryptoai.core.clock import SystemClock, iso
from cryptoai.core.errors import ConfigError
from cryptoai.core.ids import parse_instrument

if TYPE_CHECKING:
    from cryptoai.core.instruments import Instrument

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Instruments: ticks, fees, leverage brackets, listing dates, over time.")

Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake. Default: data.lake.")]
At = Annotated[str | None, typer.Option("--at", help="As it was at this moment, UTC, e.g. 2024-08-08T12:00.")]


@app.command()
def update(
    exchange: Annotated[str, typer.Argument(help="ccxt id: binance, bybit, okx, kraken, ...")],
    lake: Lake = None,
    base_url: Annotated[str | None, typer.Option(help="Another host that speaks the venue's API.")] = None,
) -> None:
    """Ask a venue for its markets and leverage brackets, and record what changed as new versions."""
    from cryptoai.data_universe.adapters.ccxt_markets import CcxtMarkets
    from cryptoai.data_universe.asset_registry.registry import REGISTRY_FILE, of_lake

    folder = _lake(lake)
    key, secret = os.environ.get("CRYPTOAI_API_KEY", ""), os.environ.get("CRYPTOAI_API_SECRET", "")
    described = CcxtMarkets(exchange, key=key, secret=secret, base_url=base_url).describe()
    registry, changes = of_lake(folder).updated(
        described.instruments, SystemClock().now_ns(), exchange, complete=described.complete
    )
    registry.write(folder / REGISTRY_FILE)
    out.print(
        f"{exchange}: {len(described.instruments)} instruments; {len(changes.added)} new,"
        f" {len(changes.changed)} changed, {len(changes.gone)} no longer listed, {len(described.refused)} refused"
    )
    for name, why in list(described.refused.items())[:10]:
        err.print(f"refused {name}: {why}", markup=False)


@app.command("list")
def list_(lake: Lake = None, at: At = None) -> None:
    """Name the instruments that are known, or that were listed at a moment."""
    from cryptoai.data_universe.asset_registry.registry import of_lake

    for name in sorted(of_lake(_lake(lake)).known(_moment(at))):
        out.print(name)


@app.command()
def show(
    instrument: Annotated[str, typer.Argument(help="venue:SYMBOL, e.g. binance_usdm:BTCUSDT.")],
    lake: Lake = None,
    at: At = None,
) -> None:
    """Show one instrument, as it is or as it was, and how often its description changed."""
    from cryptoai.data_universe.asset_registry.registry import of_lake

    parse_instrument(instrument)
    registry = of_lake(_lake(lake))
    made = registry.instrument(instrument, _moment(at))
    out.print(_facts(made))
    if made.brackets:
        out.print(_brackets(made))
    for version in registry.history(instrument):
        since = iso(version.valid_from)[:19] if version.valid_from else "the beginning"
        out.print(f"version from {since}, {version.source}")


def _facts(made: Instrument) -> Table:
    table = Table(show_header=False, box=None)
    for name in ("id", "contract", "base", "quote", "tick", "step", "min_notional", "contract_size", "max_leverage"):
        table.add_row(name, str(getattr(made, name)))
    table.add_row("fees", f"maker {made.maker_fee:%}, taker {made.taker_fee:%}, {len(made.fee_tiers)} tiers")
    for name in ("listed", "delisted"):
        moment = getattr(made, name)
        table.add_row(name, iso(moment)[:19] if moment is not None else "not known")
    return table


def _brackets(made: Instrument) -> Table:
    table = Table("notional up to", "leverage", "maintenance", "less", box=None)
    for row in made.brackets:
        rate = f"{float(row.maintenance_rate):.2%}"
        table.add_row(str(row.cap), f"{row.max_leverage}x", rate, str(row.maintenance_amount))
    return table


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--at {text!r} is not a moment such as 2024-08-08T12:00") from None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(aware.timestamp()) * 1_000_000_000


def _lake(given: Path | None) -> Path:
    return given or Path(load_config().data.lake)
