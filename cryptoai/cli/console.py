"""How the command talks to a person: one console, one progress style, one way to fail.

Used by every command. Results go to stdout; progress, notes and errors go to stderr, so that stdout can be piped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cryptoai.cli.children import Interrupted, interruption
from cryptoai.core.errors import ConfigError, CryptoAIError, InvariantError

__all__ = ["Advance", "err", "fail_in_one_sentence", "out", "progress"]

out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

Advance = Callable[[float, float, str], None]
"""`advance(done, total, note)`: how far a long step is, in its own unit."""


@contextmanager
def progress(label: str) -> Iterator[Advance]:
    """A bar for one long step, kept on the screen with its time when done; plain lines where there is no terminal."""
    if not err.is_terminal:
        err.print(f"{label} ...")
        yield lambda _done, _total, _note: None
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}[/]"),
    )
    with Progress(*columns, console=err) as bars:
        task = bars.add_task(label, total=None, note="")
        yield lambda done, total, note: bars.update(task, completed=int(done), total=int(total), note=note)
        total = bars.tasks[0].total or 1
        bars.update(task, total=total, completed=total)


def fail_in_one_sentence(command: Callable[[], object]) -> int:
    """Runs `command`; an expected failure becomes one clear sentence on stderr and the exit code of its kind."""
    try:
        result = _with_libraries(command)
    except CryptoAIError as error:
        err.print(*([] if isinstance(error, Interrupted) else ["[red]error:[/]"]), escape(str(error)))
        if isinstance(error, InvariantError):
            err.print("this is a defect of CryptoAI; please report it with the line above")
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        err.print("stopped")
        return 130
    except OSError as error:
        err.print(f"[red]error:[/] {error.filename or 'input/output'}: {error.strerror or error}")
        return 74  # EX_IOERR
    except Exception:
        caught = interruption()
        if caught is None:
            raise
        err.print(str(caught))
        return caught.exit_code
    return result if isinstance(result, int) else 0


def _with_libraries(command: Callable[[], object]) -> object:
    """Runs `command`; a library that is missing is a sentence that names the extra to install."""
    try:
        return command()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _extra_with(package)
        if extra is None:
            raise
        fix = f"pip install 'cryptoai[{extra}]'"
        raise ConfigError(f"this command needs {package}, which is not installed here; run {fix}") from error


def _extra_with(package: str) -> str | None:
    """The smallest extra of this package that brings a library; None if none does."""
    from importlib import metadata

    package = package.replace("_", "-").lower()
    extras: dict[str, list[str]] = {}
    for line in metadata.requires("cryptoai") or []:
        wanted, _, condition = line.partition(";")
        found = re.search(r"extra == ['\"]([\w-]+)['\"]", condition)
        if found:
            extras.setdefault(found[1], []).append(re.split(r"[^\w-]", wanted.strip(), maxsplit=1)[0].lower())
    fitting = [name for name, wanted in extras.items() if package in wanted and name not in ("all", "dev")]
    return min(fitting, key=lambda name: (len(extras[name]), name), default=None)
