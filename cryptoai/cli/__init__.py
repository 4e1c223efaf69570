"""The `cryptoai` command: a composition root. It reads the environment and files, wires adapters, and decides nothing.

Each command lives in the module of its name and imports heavy libraries only when it runs, so that `--help` is instant.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cryptoai import __version__
from cryptoai.cli.console import fail_in_one_sentence
from cryptoai.core.config import Config

__all__ = ["app", "run"]

app = typer.Typer(
    name="cryptoai",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "Trading bots that learn, under a judge that does not.\n\n"
        "Start with [bold]cryptoai demo[/]: it takes real recorded market data through features, training, a backtest, "
        "the inference server, a shadow bot and the dashboard, all on this machine. "
        "Nothing here promises profit, and nothing trades real money unless you ask for it by name."
    ),
)

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", help="YAML file with the sections of configs/default.yaml.", rich_help_panel="Configuration"
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key, e.g. risk.max_leverage=3.",
        rich_help_panel="Configuration",
    ),
]
Assets = Annotated[list[str], typer.Option("--assets", "-a", help="Symbol to trade; repeat for more.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Bundle folder, a link to one, or a server's URL. Default: the last trained."),
]
MANY = "Many runs"
Out = Annotated[Path | None, typer.Option("--out", help="Folder for what the command writes.")]


def configured(path: Path | None, sets: list[str] | None) -> Config:
    """The configuration of a command: file, environment, then --set."""
    from cryptoai.cli.settings import load_config

    return load_config(path, sets or [])


@app.command()
def demo(
    config: ConfigFile = None,
    sets: Sets = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder that receives everything; default: var/ and checkpoints/ here.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Run the whole loop, write the results and leave.")] = False,
    speed: Annotated[
        float, typer.Option(help="Replay speed of the shadow bot; 1 is as recorded. With --once: no pauses.")
    ] = 1.0,
) -> None:
    """The whole loop on this machine: tape, features, training, backtest, server, shadow bot, dashboard.

    Needs no account, no key, no GPU and no network. A second run reuses what the first one made.
    """
    from cryptoai.cli.demo import run_demo
    from cryptoai.cli.settings import project_root

    chosen = configured(config or project_root() / "configs" / "demo.yaml", sets)
    raise typer.Exit(run_demo(chosen, out, once=once, speed=speed))


@app.command()
def train(
    config: ConfigFile = None,
    sets: Sets = None,
    assets: Assets = ["BTCUSDT"],  # noqa: B006 - typer reads the default, nobody changes it
    processes: Annotated[
        int, typer.Option(help="Training processes: one per GPU, or CPU processes where there is none.")
    ] = 1,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Train on a synthetic market whose truth is known.")
    ] = False,
    champion: Annotated[
        Path | None,
        typer.Option("--from", metavar="BUNDLE", help="Train this bundle further, and promote it only if no worse."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="A live table of the stages; follows a training that already runs.")
    ] = False,
) -> None:
    """Train a bundle (encoders, world model, policy, risk) on the part of the tape that training may see.

    Leaves the bundle under training.checkpoints and the link best_model.pt pointing to it. With --from the link moves
    only where the new bundle is shown to be no worse on rows that neither has seen.
    """
    from cryptoai.cli.train import launch_training, run_training

    if processes > 1 or synthetic:
        options = ["--gpus", str(processes), *(["--synthetic"] if synthetic else ["--assets", *assets])]
        options += [*(["--config", str(config)] if config else []), *(["--watch"] if watch else [])]
        options += ["--from", str(champion)] if champion else []
        launch_training([*options, *(part for item in sets or [] for part in ("--set", item))])
    raise typer.Exit(run_training(configured(config, sets), assets, champion=champion, watch=watch))


@app.command()
def backtest(  # noqa: PLR0913, PLR0917 - each is an option of the command
    config: ConfigFile = None,
    sets: Sets = None,
    assets: Assets = ["BTCUSDT"],  # noqa: B006
    model: Model = None,
    out: Out = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid", metavar="KEY=V1,V2", help="Try every combination; repeat for more keys.", rich_help_panel=MANY
        ),
    ] = None,
    walk_forward: Annotated[
        int,
        typer.Option(
            "--walk-forward",
            metavar="N",
            help="N successive tests, each behind its training window.",
            rich_help_panel=MANY,
        ),
    ] = 0,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="With --walk-forward: train a model for each fold.", rich_help_panel=MANY)
    ] = False,
    capacity: Annotated[
        str, typer.Option(metavar="X1,X2", help="The same replay at multiples of the money.", rich_help_panel=MANY)
    ] = "",
    workers: Annotated[int, typer.Option(help="Processes for these, 0 for one a core.", rich_help_panel=MANY)] = 0,
    spark: Annotated[
        str,
        typer.Option(metavar="MASTER", help="A Spark cluster for these, e.g. spark://host:7077.", rich_help_panel=MANY),
    ] = "",
    trials: Annotated[
        int, typer.Option(help="Strategies tried before and elsewhere, for the deflated Sharpe ratio.")
    ] = 0,
    check_lookahead: Annotated[
        bool, typer.Option("--check-lookahead", help="Replay on tapes cut short: does anything know the future?")
    ] = False,
    plant_leak: Annotated[
        bool, typer.Option("--plant-leak", help="The same with a leak planted, which must be found.")
    ] = False,
) -> None:
    """Replay the part of the tape that training never saw, and say what was earned net of every cost."""
    from cryptoai.cli.backtest import Extras
    from cryptoai.cli.backtest import backtest as run_backtest
    from cryptoai.cli.studies import multiples

    extras = Extras(
        grid=tuple(grid or ()),
        walk_forward=walk_forward,
        retrain=retrain,
        capacity=multiples(capacity),
        trials=trials,
        check_lookahead=check_lookahead,
        plant_leak=plant_leak,
        workers=workers,
        spark=spark,
    )
    raise typer.Exit(run_backtest(configured(config, sets), assets, model, out or Path("var/backtest"), extras))


@app.command()
def evaluate(
    config: ConfigFile = None,
    sets: Sets = None,
    assets: Assets = ["BTCUSDT"],  # noqa: B006
    model: Model = None,
) -> None:
    """Judge a bundle on data it never saw: calibration of its forecasts, tail coverage, and its evidence file."""
    from cryptoai.cli.evaluate import run_evaluation

    raise typer.Exit(run_evaluation(configured(config, sets), assets, model))


@app.command()
def bot(
    config: ConfigFile = None,
    sets: Sets = None,
    assets: Assets = ["BTCUSDT"],  # noqa: B006
    model: Model = None,
    out: Out = None,
    speed: Annotated[float, typer.Option(help="Replay speed, 1 = as recorded, 0 = as fast as possible.")] = 1.0,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Run as the main process of a pod: Redis, health port, kill switch.")
    ] = False,
) -> None:
    """Run a bot in execution.mode: shadow decides and sends nothing, paper keeps a simulated account.

    Its name, which is part of its order ids, is CRYPTOAI_BOT, else the mode.
    """
    chosen = configured(config, sets)
    folder = out or Path("var") / chosen.execution.mode
    if cluster:
        from cryptoai.cli.cluster import prepare_process, run_in_pod

        prepare_process(folder)
        raise typer.Exit(run_in_pod(chosen, assets, model, folder, speed=speed))
    from cryptoai.cli.bot import run_bot

    name = os.environ.get("CRYPTOAI_BOT")
    raise typer.Exit(run_bot(chosen, assets, model, folder, speed=speed, name=name))


@app.command()
def serve(config: ConfigFile = None, sets: Sets = None, model: Model = None) -> None:
    """Start the inference server for a bundle: POST /infer, GET /health, GET /metrics."""
    from cryptoai.cli.serve import run_server

    raise typer.Exit(run_server(configured(config, sets), model))


@app.command()
def dashboard(
    config: ConfigFile = None,
    sets: Sets = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the bot whose journal is shown.")] = Path("var/shadow"),
) -> None:
    """Show a bot's journal as a live page: health, equity, position, decisions, alerts, drift."""
    from cryptoai.cli.serve import run_dashboard

    raise typer.Exit(run_dashboard(configured(config, sets), out))


@app.command()
def journal(
    path: Annotated[Path, typer.Argument(help="A journal.jsonl file.")],
    decision: Annotated[int | None, typer.Option(help="Explain this decision from state to fills.")] = None,
) -> None:
    """Verify a journal's checksum chain and count its records, or explain one decision from it alone."""
    from cryptoai.cli.journal import show_journal

    raise typer.Exit(show_journal(path, decision))


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="backtest, features, venue, verdict, decide, or all.")] = "all",
    peers: Annotated[
        str | None, typer.Option(help="Of backtest: hftbacktest, nautilus_trader, vectorbt, with commas, or none.")
    ] = None,
    _json: Annotated[bool, typer.Option("--json", help="The default, and the only form.")] = True,
) -> None:
    """Measure this machine: one JSON line per figure on stdout."""
    from cryptoai.cli.bench import run_bench

    raise typer.Exit(run_bench(name, peers))


@app.command()
def verify(
    what: Annotated[str, typer.Argument(help="learning.")] = "learning",
    only: Annotated[str | None, typer.Option(help="Parts or checks, with commas between them.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Less data, minutes instead of an hour.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a gate.")] = False,
) -> None:
    """Prove what the learned parts learned: each against its baselines and, where truth is known, against an oracle."""
    from cryptoai.cli.verify import verify_learning

    if what != "learning":
        raise typer.BadParameter(f"{what!r}; there is learning")
    raise typer.Exit(verify_learning(only, quick, as_json))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cryptoai {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error; logs go to stderr.")] = "warning",
) -> None:
    from cryptoai.core.logging import configure_logging

    configure_logging(level=log_level)


def _subcommands() -> None:
    from cryptoai.cli import assets, causal, data, features, kube, news, onchain, record, synth

    app.add_typer(data.app, name="data")
    data.app.command("record")(record.record)
    data.app.command("synth")(synth.synth)
    data.app.add_typer(assets.app, name="assets")
    data.app.add_typer(onchain.app, name="onchain")
    data.app.add_typer(news.app, name="news")
    app.add_typer(features.app, name="features")
    app.add_typer(kube.app, name="kube")
    app.command("causal")(causal.causal)
    _local_exchange()


def _local_exchange() -> None:
    from cryptoai.cli.exchange import exchange

    app.command("exchange")(exchange)


_subcommands()


def run() -> None:
    """Entry point of the `cryptoai` command."""
    code = fail_in_one_sentence(lambda: app(standalone_mode=False))
    if "duckdb" not in sys.modules:
        sys.exit(code)
    # DuckDB's bindings print a page about leaked types when the interpreter winds down; everything of ours is closed.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
