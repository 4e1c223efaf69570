"""`cryptoai data news`: texts about the market into the lake, classified and scored, each known from its arrival on.

Writes only below data.lake. Texts are untrusted: they are stored and shown as plain text, never followed or rendered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cryptoai.cli.console import err, out
from cryptoai.cli.settings import load_config
from cryptoai.core.clock import SystemClock, iso
from cryptoai.core.errors import ConfigError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="News and announcements: JSON lines, RSS or Atom; classified and scored.")

Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the lake. Default: data.lake.")]


@app.command("import")
def import_(
    place: Annotated[str, typer.Argument(help="File or URL: JSON lines, RSS 2.0 or Atom.")],
    source: Annotated[str, typer.Option("--source", help="Who says it; a name for the lake.")] = "feed",
    archive_delay: Annotated[
        float | None,
        typer.Option(
            "--archive-delay", help="For an old archive: known this many seconds after publication instead of now."
        ),
    ] = None,
    lake: Lake = None,
) -> None:
    """Import a feed: check, classify, tag coins, score, and store texts and scores."""
    from cryptoai.data_universe.adapters.feeds import read_feed
    from cryptoai.data_universe.lake_facts import write_facts
    from cryptoai.data_universe.market_events.items import parse
    from cryptoai.data_universe.market_events.scoring import score, score_facts
    from cryptoai.data_universe.market_events.store import read_news, write_news, write_refused

    root, now = _lake(lake), SystemClock().now_ns()
    batch = parse(read_feed(place), source, now, archive_delay_s=archive_delay)
    stored = {item.id for item in read_news(root)}
    scores = score([item for item in batch.items if item.id not in stored])
    for name, facts in score_facts(scores).items():
        err.print(write_facts(root, name, facts, source, now_ns=now).summary(), markup=False)
    written = write_news(root, scores)
    write_refused(root, source, batch.quarantine)
    out.print(f"{source}: {len(batch.items)} texts, {written} new")
    for reason, count in batch.refused.items():
        err.print(f"refused {count:,} text(s): {reason}", markup=False)


@app.command("list")
def list_(
    lake: Lake = None, last: Annotated[int, typer.Option("--last", min=1, max=1000, help="How many.")] = 20
) -> None:
    """Show the newest texts with their class, confidence, severity, sentiment and coins."""
    from cryptoai.data_universe.market_events.scoring import score
    from cryptoai.data_universe.market_events.store import read_news

    table = Table("known at", "class", "sure", "severity", "tone", "coins", "title", box=None)
    for made in score(read_news(_lake(lake))[-last:]):
        numbers = (f"{made.confidence:.2f}", f"{made.severity:.2f}", f"{made.sentiment:+.2f}")
        table.add_row(iso(made.item.known_at)[:16], made.name, *numbers, " ".join(made.assets), Text(made.item.title))
    out.print(table)


@app.command()
def classify(text: Annotated[str, typer.Argument(help="A headline.")]) -> None:
    """Show the three likeliest classes of a text."""
    from cryptoai.data_universe.market_events.classifier import packaged
    from cryptoai.data_universe.market_events.taxonomy import CATEGORY_NAMES

    odds = packaged().probabilities([text])[0]
    for place in odds.argsort()[::-1][:3]:
        out.print(f"{CATEGORY_NAMES[place]:18} {odds[place]:.2f}")


@app.command()
def study(
    instrument: Annotated[str, typer.Argument(help="venue:SYMBOL with candles in the lake.")],
    category: Annotated[str | None, typer.Option("--category", help="Study the stored texts of this class.")] = None,
    at: Annotated[list[str] | None, typer.Option("--at", help="Study this moment, UTC; repeat.")] = None,
    interval_s: Annotated[int, typer.Option("--interval", help="Width of the candles, s.")] = 3600,
    after: Annotated[int, typer.Option("--after", min=0, help="Bars after the event's bar.")] = 24,
    lake: Lake = None,
) -> None:
    """Estimate what events did to a price: abnormal return and volatility with 95 % intervals."""
    from cryptoai.data_universe.lake_facts import read_facts
    from cryptoai.data_universe.market_events.event_study import Effect, Windows
    from cryptoai.data_universe.market_events.event_study import study as run

    candles = read_facts(_lake(lake), instrument, "candles")
    chosen = candles.take(candles.column("interval_s") == interval_s)
    found = run(
        chosen,
        _events(_lake(lake), instrument, category, at or []),
        Windows(estimation=max(240, 4 * (after + 1)), after=after),
    )

    def shown(effect: Effect) -> str:
        return f"{effect.mean:+.4f} [{effect.low:+.4f}, {effect.high:+.4f}]"

    out.print(f"{len(found.used)} events over {after + 1} bars of {interval_s} s", markup=False)
    out.print(f"abnormal log return   {shown(found.abnormal_return)}", markup=False)
    out.print(f"ln variance ratio     {shown(found.volatility)}", markup=False)
    for reason, count in found.left_out.items():
        err.print(f"left out {count}: {reason}", markup=False)


def _events(root: Path, instrument: str, category: str | None, at: list[str]) -> list[int]:
    """Moments given by hand and those at which stored texts about the base coin, or about all, became known."""
    from cryptoai.data_universe.asset_registry.registry import of_lake
    from cryptoai.data_universe.lake_facts import read_facts
    from cryptoai.data_universe.market_events.taxonomy import category as index
    from cryptoai.data_universe.onchain.records import moment

    try:
        found = [moment(text) for text in at]
    except (ValueError, OverflowError):
        raise ConfigError(f"--at takes moments such as 2022-05-09T18:00, not {', '.join(at)}") from None
    if category is not None:
        base = of_lake(root).instrument(instrument).base
        for name in (f"news:{base}", "news:ALL"):
            facts = read_facts(root, name, "news_scores")
            found += facts.known_at[facts.column("category") == index(category)].tolist()
    return found


def _lake(given: Path | None) -> Path:
    return given or Path(load_config().data.lake)
