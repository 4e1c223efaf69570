"""`cryptoai kube` and `kubectl cryptoai`: what the bots of a cluster are doing, and their kill switches.

It asks through the user's own kubectl, so that kubeconfig, contexts, plugins for log-in and proxies work as they do
there, and nothing but kubectl needs to be installed. It reads TradingBots and patches spec.killSwitch, nothing else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cryptoai.cli.console import err, fail_in_one_sentence, out
from cryptoai.core.errors import ConfigError, TransientError

__all__ = ["BotRow", "app", "kubectl", "row_of", "run"]

app = typer.Typer(no_args_is_help=True, help="Show the TradingBots of a cluster, stop them, release them.")

_TIMEOUT_S = 30
_COLOURS = {"Running": "green", "Pending": "yellow", "Degraded": "red", "Halted": "bold red", "Suspended": "dim"}

Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace. Default: that of kubectl's context.")
]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept with the switch.")]


@dataclass(frozen=True, slots=True)
class BotRow:
    """One line of the table. `notes` are the conditions that ask for attention: type, reason and message.

    `seen` is false where the status speaks of an older spec than the one that is there.
    """

    namespace: str
    name: str
    assets: str
    mode: str
    phase: str
    model: str
    ready: str
    halted: str
    decision: str
    notes: tuple[str, ...]
    seen: bool


@app.command()
def status(
    namespace: Namespace = None,
    every: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    context: Context = None,
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """Show each bot: assets, mode, phase, model, readiness, halt, last decision, and what is wrong with it."""
    if output not in ("table", "json"):
        raise ConfigError(f"--output {output}: choose table or json")
    where = ["--all-namespaces"] if every else _where(namespace)
    listed = json.loads(kubectl(["get", "tradingbots.cryptoai.dev", *where, "-o", "json"], context))
    rows = [row_of(item) for item in listed.get("items", [])]
    if output == "json":
        out.print_json(json.dumps([asdict(row) for row in rows]))
    elif rows:
        out.print(_table(rows, every))
        for row in rows:
            _explain(row, every)
    else:
        err.print(
            "there is no TradingBot here; make one with `kubectl apply -f manifests/examples/tradingbot-minimal.yaml`"
        )


@app.command()
def kill(name: str, reason: Reason, namespace: Namespace = None, context: Context = None) -> None:
    """Engage a bot's kill switch: no new risk from now on, positions are flattened. It stays until it is released."""
    _patch(name, {"engaged": True, "reason": _said("--reason", reason), "releasedBy": None}, namespace, context)
    out.print(f"kill switch of {name} engaged; `status` shows it Halted, `release` ends it")


@app.command()
def release(
    name: str,
    by: Annotated[str, typer.Option("--by", help="Who releases it.")],
    reason: Reason,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Release a bot's kill switch, whoever engaged it: a person's decision, with a name and a reason."""
    order = {"engaged": False, "reason": _said("--reason", reason), "releasedBy": _said("--by", by)}
    command = ["get", "tradingbots.cryptoai.dev", name, *_where(namespace), "-o", "json"]
    if json.loads(kubectl(command, context)).get("spec", {}).get("killSwitch") == order:
        raise ConfigError(
            f"{name} was released by {by} for this very reason before, and a release counts once; give a new --reason"
        )
    _patch(name, order, namespace, context)
    out.print(f"kill switch of {name} released by {by}")


def kubectl(arguments: Sequence[str], context: str | None = None) -> str:
    """What kubectl prints; ConfigError without it, TransientError with its last sentence if it fails."""
    program = shutil.which("kubectl")
    if program is None:
        raise ConfigError("kubectl is not on PATH; install it, or put the project's .tools folder on PATH")
    chosen = ["--context", context] if context else []
    try:
        done = subprocess.run(
            [program, *chosen, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TransientError(f"kubectl gave no answer within {_TIMEOUT_S} s; is the cluster up?") from None
    if done.returncode != 0:
        raise TransientError(_sentence(done.stderr))
    return done.stdout


def row_of(item: Mapping[str, Any]) -> BotRow:
    """A TradingBot as kubectl gives it; what an operator did not say yet is a dash."""
    spec, status_ = item.get("spec") or {}, item.get("status") or {}
    conditions = {str(c.get("type")): c for c in status_.get("conditions") or []}
    last = status_.get("lastDecision") or {}
    asked = (spec.get("killSwitch") or {}).get("engaged") is True
    return BotRow(
        namespace=item["metadata"].get("namespace", ""),
        name=item["metadata"]["name"],
        assets=" ".join(spec.get("assets") or ["-"]),
        mode=status_.get("mode") or spec.get("mode") or "shadow",
        phase=status_.get("phase") or "-",
        model=str(status_.get("modelRevision") or "-")[:12],
        ready=_state(conditions, "Ready"),
        halted="asked" if asked and _state(conditions, "Halted") != "True" else _state(conditions, "Halted"),
        decision=f"{last['number']} at {_clock(last.get('time', '?'))}" if "number" in last else "-",
        notes=tuple(_note(c) for c in conditions.values() if _wants_attention(c)),
        seen=status_.get("observedGeneration", 0) >= item["metadata"].get("generation", 0),
    )


def run() -> None:
    """Entry point of `kubectl-cryptoai`, which kubectl finds as `kubectl cryptoai`."""
    sys.exit(fail_in_one_sentence(lambda: app(standalone_mode=False, prog_name="kubectl cryptoai")))


def _where(namespace: str | None) -> list[str]:
    return ["--namespace", namespace] if namespace else []


def _patch(name: str, order: Mapping[str, Any], namespace: str | None, context: str | None) -> None:
    patch = json.dumps({"spec": {"killSwitch": order}})
    kubectl(
        ["patch", "tradingbots.cryptoai.dev", name, *_where(namespace), "--type", "merge", "--patch", patch], context
    )


def _said(option: str, text: str) -> str:
    if not text.strip():
        raise ConfigError(f"{option} is empty; say something that the next person understands")
    return text.strip()


def _sentence(stderr: str) -> str:
    """kubectl's last line, which is the one that says what failed."""
    lines = [line.strip() for line in stderr.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    if 'resource type "tradingbots"' in last:
        return "this cluster knows no TradingBot; install the chart first: helm install cryptoai charts/cryptoai"
    return f"kubectl: {last.removeprefix('error: ')}"


def _clock(time: str) -> str:
    """The time of day in market time, to the second."""
    return time[11:19] or time


def _state(conditions: Mapping[str, Mapping[str, Any]], kind: str) -> str:
    return str(conditions[kind].get("status", "Unknown")) if kind in conditions else "-"


def _wants_attention(condition: Mapping[str, Any]) -> bool:
    """Halted and Degraded are good when False, every other condition when True."""
    good = "False" if condition.get("type") in ("Halted", "Degraded") else "True"
    return condition.get("status") != good


def _note(condition: Mapping[str, Any]) -> str:
    says = f"{condition.get('type')}={condition.get('status')} {condition.get('reason', '')}"
    return f"{says}: {condition['message']}" if condition.get("message") else says


def _table(rows: Sequence[BotRow], every: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("bot", "assets", "mode", "phase", "model", "ready", "halted", "decisions"):
        table.add_column(title, no_wrap=True)
    for row in rows:
        ready = Text(row.ready, "green" if row.ready == "True" else "yellow")
        halted = Text(row.halted, "bold red" if row.halted in ("True", "asked") else "")
        phase = Text(row.phase, _COLOURS.get(row.phase, ""))
        table.add_row(
            _called(row, every), _first(row.assets), row.mode, phase, row.model[:8], ready, halted, row.decision
        )
    return table


def _first(assets: str) -> str:
    """Of several the first, and how many more there are: a line has 80 characters."""
    first, *more = assets.split()
    return f"{first} +{len(more)}" if more else first


def _explain(row: BotRow, every: bool) -> None:
    """What asks for attention, below the table; nothing of a bot that is well."""
    late = () if row.seen else ("the operator has not acted on the newest spec yet; does it run?",)
    if row.notes or late:
        out.print(Text.assemble("\n", (_called(row, every), "bold")))
    for note in (*late, *row.notes):
        out.print(Text(f"  {note}"))


def _called(row: BotRow, every: bool) -> str:
    return f"{row.namespace}/{row.name}" if every else row.name
