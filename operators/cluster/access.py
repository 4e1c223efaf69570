"""How to reach the API server: from inside a pod by its service account, outside by a kubeconfig.

Composition roots say which; the environment is not read here. A service account's token is a file that the kubelet
renews, so it is read anew for every request.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cryptoai.core.errors import ConfigError

__all__ = ["ACCOUNT", "Access", "from_kubeconfig", "in_cluster"]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Access:
    """One API server and who we are to it."""

    server: str
    ca: bytes | None = None
    token_file: Path | None = None
    token: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None

    def bearer(self) -> str | None:
        """The token of this moment."""
        return self.token_file.read_text().strip() if self.token_file else self.token

    def ssl_context(self) -> ssl.SSLContext | None:
        """None for plain http, which only a test server speaks."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if self.certificate and self.key:
            with _on_disk(self.certificate, self.key) as (certificate, key):
                context.load_cert_chain(certificate, key)
        return context


@contextlib.contextmanager
def _on_disk(*contents: bytes) -> Iterator[tuple[Path, ...]]:
    """The ssl module takes certificates from files only; these are ours alone and gone at once."""
    with tempfile.TemporaryDirectory() as folder:
        paths = tuple(Path(folder) / str(i) for i in range(len(contents)))
        for path, content in zip(paths, contents, strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        yield paths


def in_cluster(host: str, port: str, account: Path = ACCOUNT) -> Access:
    """`host` and `port` are what every pod finds in KUBERNETES_SERVICE_HOST and _PORT."""
    token, ca = account / "token", account / "ca.crt"
    if not token.is_file():
        raise ConfigError(f"{token} is missing: the pod needs automountServiceAccountToken, or give KUBECONFIG")
    where = f"[{host}]" if ":" in host else host
    return Access(f"https://{where}:{port}", ca=ca.read_bytes(), token_file=token)


def from_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig. ConfigError names what is missing."""
    try:
        raw = yaml.safe_load(path.read_text())
        context = _named(raw, "context", raw["current-context"])
        cluster, user = _named(raw, "cluster", context["cluster"]), _named(raw, "user", context["user"])
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"KUBECONFIG {path} cannot be read: {error}") from None
    except (KeyError, TypeError, StopIteration):
        raise ConfigError(f"KUBECONFIG {path} has no usable current-context; choose one with kubectl config") from None
    token_file = user.get("tokenFile")
    return Access(
        cluster["server"],
        ca=_content(path, cluster, "certificate-authority"),
        token_file=path.parent / token_file if token_file else None,
        token=user.get("token"),
        certificate=_content(path, user, "client-certificate"),
        key=_content(path, user, "client-key"),
    )


def _named(raw: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item[kind] for item in raw[f"{kind}s"] if item["name"] == name)
    return found


def _content(path: Path, entry: dict[str, Any], key: str) -> bytes | None:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data)
    return (path.parent / entry[key]).read_bytes() if key in entry else None
