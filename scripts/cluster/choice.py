"""Decides which cluster the tests get. Pure: __main__.py looks at the machine and acts.

It must never choose a cluster whose context is not named for tests: an unlucky `make cluster` with a working
kubeconfig in the environment has to stop, not to install something there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scripts.cluster.shell import Problem

__all__ = ["Choice", "choose", "for_tests"]

Kind = Literal["given", "kind", "native"]


@dataclass(frozen=True)
class Choice:
    """`kind` of cluster and, in words, why."""

    kind: Kind
    reason: str


def for_tests(context: str) -> bool:
    """Whether a context's name says that its cluster is there for our tests."""
    return "cryptoai-test" in context or context.startswith("kind-cryptoai")


def choose(given: bool, context: str | None, docker: bool, kind: bool) -> Choice:
    """The cluster for the tests.

    given: KUBECONFIG is set to something other than a file of ours; context: its current context, None if it cannot be
    read; docker: an engine answers; kind: the program is on the PATH. Raises Problem where the tests must not go.
    """
    if given:
        if context is None:
            raise Problem("KUBECONFIG is set, but it has no current context that kubectl can read; unset it or mend it")
        if not for_tests(context):
            raise Problem(
                f"KUBECONFIG points at the context '{context}', which is not named for tests (it must contain"
                " 'cryptoai-test' or start with 'kind-cryptoai'); unset KUBECONFIG or choose another context"
            )
        return Choice("given", f"KUBECONFIG's context {context} is named for tests")
    if docker and kind:
        return Choice("kind", "a Docker engine answers")
    if docker:
        return Choice("native", "a Docker engine answers, but `kind` is not installed")
    return Choice("native", "no Docker engine answers")
