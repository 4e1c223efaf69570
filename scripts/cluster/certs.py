"""Makes the cluster's own certificate authority, the API server's certificate and the key of service accounts.

Called by node.py at every start, in a fresh folder: nothing signed here outlives the cluster.
"""

from __future__ import annotations

from pathlib import Path

from scripts.cluster.layout import API_SERVICE_IP, DNS_DOMAIN, NODE, NODE_IP
from scripts.cluster.shell import run

__all__ = ["make_certificates"]

DAYS = "365"
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{DNS_DOMAIN}",
    "localhost",
    NODE,
)


def make_certificates(folder: Path) -> None:
    """Writes ca, server, client (.crt, .key) and sa (.key, .pub) as PEM into `folder`, readable by us alone.

    `client` is how the API server shows itself to the kubelet when it is asked for logs.
    """
    folder.mkdir(mode=0o700)
    ca = ["-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt"]
    run(["openssl", "req", "-x509", *KEY, "-days", DAYS, "-subj", "/CN=cryptoai-test-ca", *ca])
    _sign(folder, "server", "/CN=kube-apiserver", ["extendedKeyUsage=serverAuth", f"subjectAltName={_names()}"])
    _sign(folder, "client", "/O=system:masters/CN=kube-apiserver-client", ["extendedKeyUsage=clientAuth"])
    run(["openssl", "genrsa", "-out", folder / "sa.key", "2048"])
    run(["openssl", "rsa", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub"])


def _sign(folder: Path, name: str, subject: str, extensions: list[str]) -> None:
    """A key `name`.key and its certificate, signed by our authority."""
    files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt"]
    signer = ["-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key"]
    added = [word for text in ("basicConstraints=critical,CA:FALSE", *extensions) for word in ("-addext", text)]
    run(["openssl", "req", "-x509", *KEY, "-days", DAYS, "-subj", subject, *added, *signer, *files])


def _names() -> str:
    addresses = ("127.0.0.1", NODE_IP, API_SERVICE_IP)
    return ",".join([*(f"DNS:{name}" for name in NAMES), *(f"IP:{address}" for address in addresses)])
