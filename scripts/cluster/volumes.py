"""Gives every PersistentVolumeClaim of the default class a folder of the node, and takes it back with its claim.

Called by node.py as a thread of the node; kind brings a provisioner like it. The folder is open to every user of its
pod, because `local` volumes are how non-root pods write. It must never remove a folder that it did not make.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from scripts.cluster.api import Api
from scripts.cluster.layout import NODE

__all__ = ["serve", "unserved", "volume"]

CLASS = "standard"
PERIOD_S = 0.5
VOLUMES = "/api/v1/persistentvolumes"


def serve(api: Api, folder: Path) -> None:
    """Looks every half second, for ever; an API server that does not answer is asked again."""
    while True:
        try:
            _round(api, folder)
        except OSError as error:
            print(f"volumes: {error}", flush=True)
        time.sleep(PERIOD_S)


def unserved(claims: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Claims of our class that wait and have no volume made for them yet."""
    made = {volume["spec"]["claimRef"]["uid"] for volume in volumes if volume["spec"].get("claimRef")}
    return [
        claim
        for claim in claims
        if claim["spec"].get("storageClassName") == CLASS
        and claim["status"].get("phase") == "Pending"
        and claim["metadata"]["uid"] not in made
    ]


def volume(claim: dict[str, Any], path: Path) -> dict[str, Any]:
    """The PersistentVolume at `path` that belongs to `claim`."""
    meta = claim["metadata"]
    owner = {key: meta[key] for key in ("name", "namespace", "uid")}
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": path.name},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Retain",  # nobody but us reclaims a `local` volume
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **owner},
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def _round(api: Api, folder: Path) -> None:
    volumes = [v for v in api.items(VOLUMES) if v["spec"].get("storageClassName") == CLASS]
    for claim in unserved(api.items("/api/v1/persistentvolumeclaims"), volumes):
        path = folder / f"pvc-{claim['metadata']['uid']}"
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        api.create(VOLUMES, volume(claim, path))
    for released in volumes:
        if released["status"].get("phase") == "Released":
            shutil.rmtree(folder / released["metadata"]["name"], ignore_errors=True)
            api.call("DELETE", f"{VOLUMES}/{released['metadata']['name']}")
