"""Answers the names of services inside the native cluster, as CoreDNS does elsewhere.

Called by node.py as a thread of the node. A service has an A record; a headless one has one for each ready pod, which a
StatefulSet's pods have by name too. It must never ask another server: nothing outside the cluster has a name here.
Source: the Kubernetes DNS specification 1.1.0; the wire format is RFC 1035.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import time
from collections.abc import Iterable
from typing import Any

from scripts.cluster.api import Api
from scripts.cluster.layout import DNS_DOMAIN

__all__ = ["Names", "answer", "records", "serve"]

PORT = 53
TTL_S = 1
TYPE_A, CLASS_IN = 1, 1
REFUSED, NO_SUCH_NAME, FAILED = 5, 3, 2
RESPONSE = 0x8580  # response, authoritative, recursion desired and available


def records(services: Iterable[dict[str, Any]], endpoints: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Lower-case name without final dot -> IPv4 addresses."""
    table: dict[str, list[str]] = {}
    headless = set()
    for service in services:
        name = _name(service)
        address = service["spec"].get("clusterIP", "")
        if address and address != "None":
            table[name] = [address]
        else:
            headless.add(name)
    for endpoint in endpoints:
        if (name := _name(endpoint)) in headless:
            table.setdefault(name, [])
            for address in _addresses(endpoint):
                table[name].append(address["ip"])
                if host := address.get("hostname"):
                    table[f"{host}.{name}"] = [address["ip"]]
    return table


def answer(query: bytes, table: dict[str, list[str]] | None) -> bytes:
    """The response to one query; `table` None says that the names are not known at the moment (SERVFAIL)."""
    name, end = _question(query)
    kind, klass = struct.unpack_from("!HH", query, end)
    question = query[12 : end + 4]
    status, found = 0, []
    if table is None:
        status = FAILED
    elif klass != CLASS_IN:
        status = REFUSED
    elif name not in table:
        status = NO_SUCH_NAME
    elif kind == TYPE_A:
        found = table[name]
    head = query[:2] + struct.pack("!HHHHH", RESPONSE | status, 1, len(found), 0, 0)
    rows = [struct.pack("!HHHIH", 0xC00C, TYPE_A, CLASS_IN, TTL_S, 4) + socket.inet_aton(ip) for ip in found]
    return head + question + b"".join(rows)


class Names:
    """The table of names, asked anew from the API server once a second at most."""

    def __init__(self, api: Api) -> None:
        self._api, self._at = api, float("-inf")
        self._table: dict[str, list[str]] | None = None

    def table(self) -> dict[str, list[str]] | None:
        """Names as of now, None if the API server does not answer."""
        if time.monotonic() - self._at > TTL_S:
            try:
                self._table = records(self._api.items("/api/v1/services"), self._api.items("/api/v1/endpoints"))
            except OSError:
                self._table = None
            self._at = time.monotonic()
        return self._table


def serve(address: str, names: Names) -> None:
    """Answers over UDP, for ever."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, reply = self.request
            try:
                response = answer(query, names.table())
            except (IndexError, struct.error, UnicodeDecodeError):
                return  # not a DNS query: RFC 1035 has no answer for that
            reply.sendto(response, self.client_address)

    with socketserver.UDPServer((address, PORT), Handler) as server:
        server.serve_forever()


def _question(query: bytes) -> tuple[str, int]:
    """Name of the first question, and the offset of its type."""
    labels, at = [], 12
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode("ascii").lower())
        at += size + 1
    return ".".join(labels), at + 1


def _name(thing: dict[str, Any]) -> str:
    meta = thing["metadata"]
    return f"{meta['name']}.{meta['namespace']}.svc.{DNS_DOMAIN}"


def _addresses(endpoint: dict[str, Any]) -> list[dict[str, str]]:
    return [address for subset in endpoint.get("subsets") or [] for address in subset.get("addresses") or []]
