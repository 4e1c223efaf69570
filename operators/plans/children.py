"""The children that a bot should have, and the actions that make it so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cryptoai.deployment import (
    Platform,
    Workload,
    access_objects,
    bot_objects,
    config_map,
    inference_objects,
    settings_yaml,
)
from operators.api.reasons import Reason
from operators.api.tradingbot import GROUP, KIND, VERSION, TradingBotSpec
from operators.plans.compare import difference, first_difference, stamped
from operators.plans.guard import settings_of
from operators.plans.model import Action, Create, Delete, Finding, Observed, Patch

__all__ = ["KEEP_CONFIGS", "actions", "conflict", "desired", "names", "prune", "workload"]

Obj = dict[str, Any]

KEEP_CONFIGS = 3

# A change of these is refused by the server: the object is made anew. A claim never is, it holds the journal.
_FROZEN: Mapping[str, tuple[str, ...]] = {
    "ConfigMap": ("data", "immutable"),
    "RoleBinding": ("roleRef",),
    "Service": ("spec.clusterIP",),
    "Deployment": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.podManagementPolicy"),
}


def workload(bot: Obj, spec: TradingBotSpec) -> Workload:
    """The spec in the words of `cryptoai.deployment`."""
    metadata = bot["metadata"]
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return Workload(
        name=metadata["name"],
        namespace=metadata["namespace"],
        owner=owner,
        assets=tuple(spec.assets),
        claim=spec.model.claim,
        path=spec.model.path,
        settings=settings_yaml(settings_of(spec)),
        speed=spec.execution.speed,
        replicas=0 if spec.suspend else 1,
        pin=spec.model.revision,
        secret=spec.features.secret,
    )


def desired(platform: Platform, bot: Workload) -> list[Obj]:
    """Every child, in the order of creation: what is mounted or named comes before what mounts or names it."""
    made = [*access_objects(bot), config_map(bot), *inference_objects(platform, bot), *bot_objects(platform, bot)]
    return [stamped(obj) for obj in made]


def names(bot: Workload) -> list[tuple[str, str]]:
    """(kind, name) of every child: what must be read before a plan."""
    return [(obj["kind"], obj["metadata"]["name"]) for obj in desired(Platform("", "", ""), bot)]


def actions(wanted: list[Obj], observed: Observed) -> Iterator[Action]:
    """What is missing is made, what differs is put right, what is not ours or is going away is left alone."""
    uid = observed.bot["metadata"]["uid"]
    for obj in wanted:
        live = observed.children.get((obj["kind"], obj["metadata"]["name"]))
        if live is None:
            yield Create(obj)
        elif _owned(live, uid) and "deletionTimestamp" not in live["metadata"]:
            yield from _mended(obj, live)


def _mended(obj: Obj, live: Obj) -> Iterator[Action]:
    compared = {"metadata": obj["metadata"]} if obj["kind"] == "PersistentVolumeClaim" else obj
    where = first_difference(compared, live)
    if where is None:
        return
    kind, name = obj["kind"], obj["metadata"]["name"]
    frozen = next((path for path in _FROZEN.get(kind, ()) if _differs_at(path, obj, live)), None)
    if frozen:
        yield Delete(kind, name, live["metadata"]["uid"], f"{frozen} cannot be changed; made anew")
    else:
        yield Patch(kind, name, difference(compared, live), f"{where} differed")


def _differs_at(path: str, obj: Obj, live: Obj) -> bool:
    a: Any = obj
    b: Any = live
    for key in path.split("."):
        a, b = a.get(key), b.get(key) if isinstance(b, Mapping) else None
    return a is not None and first_difference({"": a}, {"": b}) is not None


def _owned(live: Obj, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in live["metadata"].get("ownerReferences", ()))


def conflict(wanted: list[Obj], observed: Observed) -> Finding | None:
    """A name that we need and somebody else has. A namesake's leftover goes by itself; anything else needs a person."""
    metadata = observed.bot["metadata"]
    for obj in wanted:
        kind, name = obj["kind"], obj["metadata"]["name"]
        live = observed.children.get((kind, name))
        if live is None or _owned(live, metadata["uid"]):
            continue
        owners = live["metadata"].get("ownerReferences", ())
        namesake = any(o.get("kind") == KIND and o.get("name") == metadata["name"] for o in owners)
        if namesake or "deletionTimestamp" in live["metadata"]:
            message = f"{kind} {name} of a deleted TradingBot of this name is still going; waiting for it."
            return Finding(Reason.CLEANING_UP, message)
        message = f"{kind} {name} exists and is not owned by this TradingBot; delete it or rename the bot."
        return Finding(Reason.CHILD_CONFLICT, message, broken=True)
    return None


def prune(wanted: list[Obj], observed: Observed) -> Iterator[Action]:
    """Old revisions of the configuration, but never one that a pod may still mount."""
    uid = observed.bot["metadata"]["uid"]
    used = {obj["metadata"]["name"] for obj in wanted if obj["kind"] == "ConfigMap"} | _mounted(observed)
    owned = [obj for obj in observed.configs if _owned(obj, uid) and "deletionTimestamp" not in obj["metadata"]]
    spare = [obj for obj in owned if obj["metadata"]["name"] not in used]
    spare.sort(key=lambda obj: (obj["metadata"].get("creationTimestamp", ""), obj["metadata"]["name"]), reverse=True)
    for obj in spare[max(0, KEEP_CONFIGS - len(used)) :]:
        metadata = obj["metadata"]
        yield Delete("ConfigMap", metadata["name"], metadata["uid"], f"older than the newest {KEEP_CONFIGS} revisions")


def _mounted(observed: Observed) -> set[str]:
    """Names of the ConfigMaps in the volumes of live pods and of the live StatefulSet."""
    sets = [obj["spec"]["template"] for (kind, _), obj in observed.children.items() if kind == "StatefulSet"]
    volumes = [volume for pod in (*observed.pods, *sets) for volume in pod.get("spec", {}).get("volumes", ())]
    own = {obj["metadata"]["name"] for obj in observed.configs}
    return {volume["configMap"]["name"] for volume in volumes if "configMap" in volume} & own
