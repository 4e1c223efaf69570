"""From pods, claims and reports to findings: what is wrong, in one constant word and one sentence that says the fix.

Messages hold no number that changes by itself, so that a status is rewritten only when something happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from operators.api.reasons import Reason
from operators.api.tradingbot import TradingBotSpec
from operators.plans.model import Finding, Observed

__all__ = ["bot_state", "component", "features_state", "model_state", "pod_problem"]

Obj = dict[str, Any]

_PULL = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError")
_EX_DATAERR = 65  # core.errors: a bundle or a tape that cannot be trusted
_TAIL = 400


def component(pods: Iterable[Obj], name: str) -> list[Obj]:
    """The pods of one component that are not on their way out."""
    key = "app.kubernetes.io/component"
    mine = (pod for pod in pods if pod["metadata"].get("labels", {}).get(key) == name)
    return [pod for pod in mine if "deletionTimestamp" not in pod["metadata"]]


def pod_ready(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def pod_problem(pods: Iterable[Obj]) -> Finding | None:
    """The first thing that keeps a pod from becoming ready."""
    for pod in pods:
        if pod_ready(pod):
            continue
        status = pod.get("status", {})
        for container in status.get("containerStatuses", ()):
            if found := _container_problem(pod["metadata"]["name"], container):
                return found
        if found := _unschedulable(pod["metadata"]["name"], status):
            return found
    return None


def _unschedulable(name: str, status: Obj) -> Finding | None:
    for condition in status.get("conditions", ()):
        if condition["type"] != "PodScheduled" or condition.get("reason") != "Unschedulable":
            continue
        said = _short(condition.get("message", ""))
        if "unbound" in said:  # a moment at every start; for longer it is the storage class that does not provide
            return Finding(Reason.VOLUME_PENDING, f"pod {name} waits for a volume; is there a storage class? {said}")
        return Finding(Reason.UNSCHEDULABLE, f"pod {name} fits on no node: {said}", broken=True)
    return None


def _container_problem(pod: str, container: Obj) -> Finding | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), _short(waiting.get("message", ""))
    if reason in _PULL:
        # The kubelet's own message alternates between two texts while it backs off; ours does not.
        text = (
            f"image {container['image']} of pod {pod} cannot be pulled; push it, load it into the node or name another"
        )
        return Finding(Reason.IMAGE_NOT_PULLED, text + ".", broken=True)
    if reason in _CONFIG:
        lost = "secret" in message.lower() and ("not found" in message or "find key" in message)
        fix = "; create it with the key `password`." if lost else ""
        found = Reason.SECRET_NOT_FOUND if lost else Reason.POD_CONFIG_ERROR
        return Finding(found, f"pod {pod} cannot start: {message}{fix}", broken=True)
    return _crash(pod, container)


def _crash(pod: str, container: Obj) -> Finding | None:
    ends = [container.get(key, {}).get("terminated") for key in ("state", "lastState")]
    ended = next((end for end in ends if end and end.get("exitCode")), None)
    if ended is None:
        return None
    said = _short(ended.get("message", "")) or f"it ended with exit code {ended['exitCode']}"
    if ended["exitCode"] == _EX_DATAERR and container["name"] == "serve":
        return Finding(Reason.BUNDLE_REFUSED, f"the bundle was refused: {said}", broken=True)
    return Finding(Reason.CRASH_LOOP, f"container {container['name']} of pod {pod} keeps ending: {said}", broken=True)


def _short(text: str) -> str:
    """The last words of a container, which hold its error, without line breaks."""
    joined = " ".join(text.split())
    return joined if len(joined) <= _TAIL else "…" + joined[-_TAIL:]


def model_state(spec: TradingBotSpec, observed: Observed) -> tuple[bool, Finding]:
    """(served, finding) of the model."""
    if broken := _claim_problem(spec, observed):
        return False, broken
    pods = component(observed.pods, "inference")
    serving = any(map(pod_ready, pods))
    if broken := _server_problem(spec, observed) or pod_problem(pods):
        return serving and broken.reason is not Reason.REVISION_MISMATCH, broken
    if serving and rolled_out(_named(observed, "Deployment", "-inference")):
        return True, Finding(Reason.SERVING, "The inference server answers.")
    return False, Finding(Reason.STARTING, "The inference server is starting.")


def _claim_problem(spec: TradingBotSpec, observed: Observed) -> Finding | None:
    claim, namespace = spec.model.claim, observed.bot["metadata"]["namespace"]
    if observed.claim is None:
        text = f"spec.model.claim: there is no PersistentVolumeClaim {claim} in namespace {namespace}; create it"
        return Finding(Reason.CLAIM_NOT_FOUND, f"{text} and put the bundle into {spec.model.path}.", broken=True)
    if observed.claim.get("status", {}).get("phase") == "Lost":
        text = f"spec.model.claim: PersistentVolumeClaim {claim} has lost its volume; restore it or name another."
        return Finding(Reason.CLAIM_LOST, text, broken=True)
    return None


def _server_problem(spec: TradingBotSpec, observed: Observed) -> Finding | None:
    if observed.server is None:
        return None
    if observed.server.refusal:
        return Finding(Reason.BUNDLE_REFUSED, f"the bundle was refused: {_short(observed.server.refusal)}", broken=True)
    loaded, pin = observed.server.revision, spec.model.revision
    if pin and loaded and loaded != pin:
        text = f"spec.model.revision pins {pin}, the bundle in {spec.model.path} is {loaded}; put the right one there."
        return Finding(Reason.REVISION_MISMATCH, text, broken=True)
    return None


def bot_state(spec: TradingBotSpec, observed: Observed) -> tuple[bool, Finding]:
    """(ready, finding) of the bot's pod."""
    if spec.suspend:
        return False, Finding(Reason.SUSPENDED, "spec.suspend is true: the bot's pod is stopped.")
    pods = component(observed.pods, "bot")
    if broken := pod_problem(pods):
        return False, broken
    if not (any(map(pod_ready, pods)) and rolled_out(_named(observed, "StatefulSet", "-bot"))):
        return False, Finding(Reason.STARTING, "The bot's pod is starting.")
    if observed.report and observed.report.ended:
        return True, Finding(Reason.TAPE_ENDED, "The bot has decided on the whole tape.")
    return True, Finding(Reason.DECIDING, "The bot's pod runs with the current spec.")


def features_state(spec: TradingBotSpec, bot: Finding, *, ready: bool) -> tuple[str, Finding]:
    """(status, finding): a ready bot reads the store; of one that is not there nothing is known."""
    if bot.reason is Reason.SECRET_NOT_FOUND:
        return "False", bot
    if ready:
        return "True", Finding(Reason.STORE_READ, "The bot reads the online store.")
    word = Reason.SUSPENDED if spec.suspend else Reason.NOT_OBSERVED
    return "Unknown", Finding(word, "Known when the bot's pod is ready.")


def _named(observed: Observed, kind: str, suffix: str) -> Obj:
    return observed.children.get((kind, observed.bot["metadata"]["name"] + suffix), {})


def rolled_out(obj: Mapping[str, Any]) -> bool:
    """The controller has seen the newest generation and every replica is of it and ready."""
    status = obj.get("status", {})
    seen = status.get("observedGeneration", 0) >= obj.get("metadata", {}).get("generation", 1)
    return bool(seen and status.get("updatedReplicas", 0) >= 1 and status.get("readyReplicas", 0) >= 1)
