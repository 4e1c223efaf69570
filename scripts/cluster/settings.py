"""The configuration files of the native cluster's parts, as text. Pure: node.py writes them.

JSON is YAML, so that the standard library can write what Kubernetes reads.
"""

from __future__ import annotations

import base64
import json

from scripts.cluster.layout import API, CONTEXT, DNS_DOMAIN, NODE, NODE_IP, PAUSE, PODS, Layout

__all__ = ["cni", "containerd", "kube_proxy", "kubeconfig", "kubelet", "storage_class"]


def kubeconfig(token: str, authority: bytes) -> str:
    """How an administrator reaches the cluster; its context is named for tests."""
    cluster = {"server": API, "certificate-authority-data": base64.b64encode(authority).decode()}
    return _text(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": cluster}],
            "users": [{"name": CONTEXT, "user": {"token": token}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
            "current-context": CONTEXT,
        }
    )


def kubelet(layout: Layout) -> str:
    """A kubelet that needs neither cgroup v2 nor systemd, and that does not evict for a test machine's full disk."""
    little = "1%"
    return _text(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(layout.state / "certs/ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "readOnlyPort": 0,
            "healthzPort": 0,
            "oomScoreAdj": 0,
            "clusterDNS": [NODE_IP],
            "clusterDomain": DNS_DOMAIN,
            "resolvConf": str(layout.state / "resolv.conf"),
            "imageGCHighThresholdPercent": 100,
            "imageMinimumGCAge": "8760h",
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": little,
                "imagefs.available": little,
                "nodefs.inodesFree": little,
            },
            "syncFrequency": "10s",
            "nodeStatusUpdateFrequency": "5s",
        }
    )


def kube_proxy(layout: Layout) -> str:
    """Service addresses by iptables; the connection tracker's limits are the machine's and stay as they are."""
    return _text(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clusterCIDR": PODS,
            "hostnameOverride": NODE,
            "bindAddress": NODE_IP,
            "healthzBindAddress": "",
            "metricsBindAddress": "127.0.0.1:10249",
            "oomScoreAdj": 0,
            "clientConnection": {"kubeconfig": str(layout.kubeconfig)},
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
    )


def cni() -> str:
    """Every pod on a cable of its own to the node, so that all its traffic meets kube-proxy's rules."""
    ranges = {
        "type": "host-local",
        "dataDir": "/var/lib/cni/networks",
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    ptp = {"type": "ptp", "mtu": 1500, "ipMasq": False, "ipam": ranges}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return _text({"cniVersion": "0.4.0", "name": "pods", "plugins": [ptp, portmap]})


def containerd(layout: Layout, runtime: str) -> str:
    """containerd with the CRI plugin; `runtime` is the OCI runtime that it calls."""
    return f"""version = 2
root = "{layout.images}"
state = "/run/containerd"
[grpc]
  address = "{layout.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{layout.state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "node"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.node]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.node.options]
        BinaryName = "{runtime}"
"""


def storage_class() -> dict[str, object]:
    """The default class, named as kind names its own; addons.py serves it."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": annotations},
        "provisioner": "cryptoai.dev/node-folder",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def _text(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"
