"""`python -m scripts.cluster COMMAND`: the cluster of the tests, whichever this machine can have.

Run by `make cluster`, `make cluster-down`, scripts/images.py and .ci/run. `up` may be run twice, even at once; `down`
ends only what `up` started.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from scripts.cluster import kind, native
from scripts.cluster.choice import Choice, choose
from scripts.cluster.shell import Problem, alone, main, out, run, step

__all__ = ["decide", "forget", "load", "running", "takes_images"]

IMPOSSIBLE = 3


def decide() -> Choice:
    """Looks at KUBECONFIG and at Docker, and chooses."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    given = bool(kubeconfig) and Path(kubeconfig).resolve() != native.layout().kubeconfig.resolve()
    context = (out(["kubectl", "config", "current-context"]) or "").strip() or None if given else None
    docker, has_kind = (False, False) if given else kind.available()
    return choose(given, context, docker, has_kind)


def up() -> None:
    """A cluster that answers, and how to reach it."""
    start, files, choice = time.monotonic(), native.layout(), decide()
    print(f"cluster: {choice.kind} ({choice.reason})", flush=True)
    if choice.kind == "given":
        with step("asking it for its nodes"):
            run(["kubectl", "get", "nodes", "--request-timeout=20s"])
        print("KUBECONFIG stays as it is")
        return
    with alone("cluster"):
        if choice.kind == "kind":
            kind.up(files.kubeconfig)
        else:
            native.up(files)
    print(f"ready after {time.monotonic() - start:.1f} s\nexport KUBECONFIG={files.kubeconfig}", flush=True)


def down() -> None:
    """Ends what `up` started; a cluster that was given is left alone."""
    start = time.monotonic()
    with alone("cluster"):
        stopped = native.down(native.layout())
        docker, has_kind = kind.available()
        if docker and has_kind:
            stopped = kind.down() or stopped
    print(f"stopped after {time.monotonic() - start:.1f} s" if stopped else "there is no cluster of ours to stop")


def build() -> None:
    """What a native cluster is made of, without starting it; nothing to do where another kind is used."""
    if decide().kind == "native":
        with alone("cluster"):
            native.build(native.layout())


def possible() -> None:
    """Status 0 if `up` can give a cluster on this machine, 3 and a sentence if not; changes nothing."""
    if decide().kind == "native" and (why := native.obstacle(native.layout())):
        print(why)
        sys.exit(IMPOSSIBLE)


def kubeconfig() -> None:
    """Where the kubeconfig of the cluster is that `up` gives."""
    print(os.environ["KUBECONFIG"] if decide().kind == "given" else native.layout().kubeconfig)


def running() -> Choice:
    """The cluster that runs. Raises Problem if none does."""
    files, choice = native.layout(), decide()
    if (choice.kind == "native" and not native.running(files)) or (choice.kind == "kind" and not kind.running()):
        raise Problem(f"no {choice.kind} cluster of ours runs; `make cluster` starts one")
    return choice


def status() -> None:
    """What runs; status 1 if nothing does."""
    choice = running()
    print(f"cluster: {choice.kind} ({choice.reason})", flush=True)
    config = [] if choice.kind == "given" else [f"--kubeconfig={native.layout().kubeconfig}"]
    print(run(["kubectl", *config, "get", "nodes"]), end="")


def takes_images() -> Choice:
    """The cluster that runs, if images can be loaded into it. Raises Problem if not."""
    choice = running()
    if choice.kind == "given":
        raise Problem("images cannot be loaded into a cluster that was given; push them where it can pull them from")
    return choice


def load(archive: Path) -> None:
    """Loads an image archive into the cluster that runs."""
    if takes_images().kind == "kind":
        kind.load(archive)
    else:
        native.load(native.layout(), archive)


def forget(keep: set[str]) -> None:
    """Removes from the native cluster the images of ours that `keep` does not name; kind's go with its node."""
    if running().kind == "native":
        native.forget(native.layout(), keep)


ACTIONS = (up, down, status, build, possible, kubeconfig)


def cli() -> None:
    """Reads the command line and acts."""
    parser = argparse.ArgumentParser(prog="python -m scripts.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for action in ACTIONS:
        commands.add_parser(action.__name__, help=action.__doc__)
    commands.add_parser("load", help=load.__doc__).add_argument("archive", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "load":
        load(arguments.archive)
    else:
        next(action for action in ACTIONS if action.__name__ == arguments.command)()


if __name__ == "__main__":
    sys.exit(main(cli))
