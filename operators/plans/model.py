"""The input and the output of a plan.

Handlers fill `Observed` from live reads and carry out `Plan`; in between nothing but `plan` decides. Both are plain
data, so a plan can be tabled in a test and printed in a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.api.reasons import Reason

__all__ = [
    "Action", "BotReport", "Create", "Delete", "Finding", "Glimpse", "Notice", "Observed", "Patch", "Plan",
    "ServerReport",
]  # fmt: skip

Obj = dict[str, Any]


@dataclass(frozen=True)
class BotReport:
    """What the bot's pod says of itself on /status."""

    decisions: int
    time_ns: int
    revision: str
    killed: bool
    ended: bool


@dataclass(frozen=True)
class ServerReport:
    """What the inference server says on /health: the revision it has loaded, or why it refused."""

    revision: str | None
    refusal: str | None = None


@dataclass(frozen=True)
class Glimpse:
    """What happened to the spec between the status that is there and now.

    `engaged` holds the words of a kill switch that was engaged meanwhile; `unseen` is true where a generation of the
    spec passed that nobody of the operator's looked at.
    """

    engaged: Mapping[str, str] | None = None
    unseen: bool = False


@dataclass(frozen=True)
class Observed:
    """One bot as it is now. `children` has every object of the names that a plan may ask for, whoever owns it."""

    bot: Obj
    children: Mapping[tuple[str, str], Obj] = field(default_factory=dict)
    configs: tuple[Obj, ...] = ()
    pods: tuple[Obj, ...] = ()
    claim: Obj | None = None
    report: BotReport | None = None
    server: ServerReport | None = None
    failure: str | None = None
    glimpse: Glimpse = Glimpse()


@dataclass(frozen=True)
class Create:
    obj: Obj


@dataclass(frozen=True)
class Patch:
    """JSON merge patch; `why` names the first field that differed."""

    kind: str
    name: str
    body: Obj
    why: str


@dataclass(frozen=True)
class Delete:
    """Only the object of this uid; another one of the name stays."""

    kind: str
    name: str
    uid: str
    why: str


Action = Create | Patch | Delete


@dataclass(frozen=True)
class Finding:
    """One thing that is so. `broken` means that a person must mend it."""

    reason: Reason
    message: str
    broken: bool = False


@dataclass(frozen=True)
class Notice:
    """An Event to be: reason is constant, message is for people."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Plan:
    """`status` is the whole status to be, or None when the one that is there is right already."""

    actions: tuple[Action, ...] = ()
    status: Obj | None = None
    notices: tuple[Notice, ...] = ()
    requeue_s: float | None = None
