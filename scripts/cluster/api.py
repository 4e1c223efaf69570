"""The few calls to the API server that the cluster's own scripts make.

Called by node.py, dns.py and volumes.py with the kubeconfig that settings.py wrote (JSON). It is no client library: the
product has its own.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ["Api"]

TIMEOUT_S = 5.0


class Api:
    """One API server, spoken to as the administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        settings = json.loads(kubeconfig.read_text())
        cluster = settings["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._server = cluster["server"]
        self._token = settings["users"][0]["user"]["token"]
        https = urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=authority))
        # The address is this machine's own: a proxy of the environment must not be asked for it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The decoded answer, text where it is not JSON. Raises OSError (urllib's HTTPError is one) when it fails."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._server + path, data=data, method=method, headers=headers)  # noqa: S310
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            text = answer.read()
        return json.loads(text) if text[:1] in (b"{", b"[") else text.decode()

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list."""
        return list(self.call("GET", path)["items"])

    def create(self, path: str, body: dict[str, Any]) -> None:
        """Creates an object; one that is there already is left as it is."""
        try:
            self.call("POST", path, body)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
