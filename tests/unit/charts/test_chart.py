"""What the chart makes of its values: for every switch, on the oldest and on a new cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cryptoai import __version__
from scripts.images import IMAGES

CHART = Path(__file__).parents[3] / "charts" / "cryptoai"
MINE = {"redis__enabled": False, "redis__host": "redis.example.org", "redis__port": 6380}
SWITCHES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "own redis": MINE,
    "no policy": {"redis__networkPolicy": False},
    "one namespace": {"operator__watchNamespace": "bots", "rbac__aggregate": False},
    "bundles": {"bundles__create": True, "bundles__storageClass": "fast", "bundles__accessMode": "ReadWriteMany"},
    "private registry": {
        "images__pullSecrets": ["registry"],
        "images__pullPolicy": "Always",
        "images__operator__repository": "registry.example.org:5000/desk/operator",
        "images__operator__tag": "1.2",
        "images__redis__tag": "@sha256:" + "0" * 64,
    },
    "placed": {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "trading", "operator": "Exists", "effect": "NoSchedule"}],
    },
}
# Kinds of the API versions that a 1.20 server has and current ones still have.
COMMON = {
    "v1": {"ServiceAccount", "Service", "ConfigMap", "PersistentVolumeClaim", "Pod"},
    "apps/v1": {"Deployment"},
    "coordination.k8s.io/v1": {"Lease"},
    "networking.k8s.io/v1": {"NetworkPolicy"},
    "rbac.authorization.k8s.io/v1": {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
}


@pytest.fixture(params=SWITCHES, ids=str)
def objects(request: pytest.FixtureRequest, render: Callable[..., Any]) -> Any:
    return render(**SWITCHES[request.param])


def test_lint_finds_nothing(helm: Callable[..., Any]) -> None:
    """Not even a warning."""
    done = helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_object_is_one_that_old_and_new_clusters_know(objects: Any) -> None:
    """No API version that 1.20 lacks, none that was removed since."""
    strange = [(o["apiVersion"], o["kind"]) for o in objects if o["kind"] not in COMMON.get(o["apiVersion"], ())]
    assert not strange


def test_no_two_objects_share_a_name(objects: Any) -> None:
    """Helm would apply one over the other."""
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(keys) == len(set(keys))


def test_everything_carries_the_recommended_labels(objects: Any) -> None:
    """So that it can be found and belongs to its release."""
    for thing in objects:
        labels = thing["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "cryptoai"
        assert labels["app.kubernetes.io/instance"] == "cryptoai"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_no_pod_may_do_more_than_it_needs(objects: Any) -> None:
    """The restricted Pod Security Standard, and a file system that cannot be written."""
    seen = 0
    for name, pod in objects.pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] == 10001, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod), name
        assert all(set(v) & {"emptyDir", "persistentVolumeClaim"} for v in pod.get("volumes", [])), name
        for container in pod["containers"]:
            seen += 1
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"]["cpu"], name
            assert container["resources"]["limits"]["memory"], name
    assert seen >= 2


def test_only_the_operator_has_a_token(objects: Any) -> None:
    """Redis and the test have no business with the API server."""
    for name, pod in objects.pods():
        assert (pod.get("automountServiceAccountToken") is False) == (name != "cryptoai-operator"), name


def test_a_service_selects_its_pods(objects: Any) -> None:
    """The selectors of Service, Deployment and NetworkPolicy are labels of the pods meant."""
    for deployment in objects.of("Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        name = deployment["metadata"]["name"]
        chosen = [deployment["spec"]["selector"]["matchLabels"]]
        chosen += [s["spec"]["selector"] for s in objects.of("Service") if s["metadata"]["name"] == name]
        policies = [p for p in objects.of("NetworkPolicy") if p["metadata"]["name"] == name]
        chosen += [p["spec"]["podSelector"]["matchLabels"] for p in policies]
        assert all(selector.items() <= labels for selector in chosen), name


def test_every_probe_meets_a_port_that_is_there(objects: Any) -> None:
    """And every volume mounted exists."""
    for name, pod in objects.pods():
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            probes = [container[key] for key in container if key.endswith("Probe")]
            assert {(p.get("httpGet") or p["tcpSocket"])["port"] for p in probes} <= ports, name
            assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes, name


def test_every_port_says_its_protocol(objects: Any) -> None:
    """Without it, the server-side apply of API server 1.20, which Helm 4 uses, refuses a Service."""
    ports = [port for service in objects.of("Service") for port in service["spec"]["ports"]]
    ports += [port for _, pod in objects.pods() for c in pod["containers"] for port in c.get("ports", [])]
    assert {port["protocol"] for port in ports} == {"TCP"}


def test_the_operator_runs_alone(render: Callable[..., Any]) -> None:
    """One replica, and the old one is gone before the new one comes."""
    spec = render().named("Deployment", "cryptoai-operator")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def environment(objects: Any) -> dict[str, str]:
    (container,) = objects.named("Deployment", "cryptoai-operator")["spec"]["template"]["spec"]["containers"]
    return {e["name"]: e.get("value") or e["valueFrom"]["fieldRef"]["fieldPath"] for e in container["env"]}


def test_the_operator_is_told_what_bots_are_made_of(render: Callable[..., Any]) -> None:
    """Images, the address of Redis in its namespace, and who it is; nothing about a namespace to watch."""
    assert environment(render()) == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "CRYPTOAI_IMAGE_BOT": "localhost/cryptoai/bot:0.1.0",
        "CRYPTOAI_IMAGE_SERVE": "localhost/cryptoai/serve:0.1.0",
        "CRYPTOAI_IMAGE_PULL_POLICY": "IfNotPresent",
        "CRYPTOAI_REDIS": "cryptoai-redis.desk:6379",
        "CRYPTOAI_LOG_LEVEL": "info",
    }


def test_a_redis_of_your_own_replaces_ours(render: Callable[..., Any]) -> None:
    """Nothing of ours is left, and bots and the test get the other address."""
    objects = render(**MINE)
    assert environment(objects)["CRYPTOAI_REDIS"] == "redis.example.org:6380"
    assert not [o for o in objects if o["metadata"]["name"] == "cryptoai-redis"]
    (ping,) = objects.named("Pod", "cryptoai-test-redis")["spec"]["containers"]
    assert ping["args"][-1] == "redis.example.org:6380"


def test_redis_forgets_nothing_silently(render: Callable[..., Any]) -> None:
    """Full means refused, nothing is written to disk, and only pods of ours may connect."""
    objects = render(redis__maxMemory="64mb")
    (redis,) = objects.named("Deployment", "cryptoai-redis")["spec"]["template"]["spec"]["containers"]
    options = dict(zip(redis["args"][::2], redis["args"][1::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--maxmemory"] == "64mb"
    assert (options["--save"], options["--appendonly"]) == ("", "no")
    policy = objects.named("NetworkPolicy", "cryptoai-redis")["spec"]
    (rule,) = policy["ingress"]
    assert rule["from"][0]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "cryptoai"}}
    assert not render(redis__networkPolicy=False).of("NetworkPolicy")


def test_images_follow_the_release_a_tag_or_a_digest(render: Callable[..., Any]) -> None:
    """And pods get the names of the Secrets that open the registry."""
    objects = render(**SWITCHES["private registry"])
    used = {name: pod["containers"][0]["image"] for name, pod in objects.pods()}
    assert used["cryptoai-operator"] == "registry.example.org:5000/desk/operator:1.2"
    assert used["cryptoai-redis"] == "localhost/cryptoai/redis@sha256:" + "0" * 64
    for _, pod in objects.pods():
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["containers"][0]["imagePullPolicy"] == "Always"
    assert environment(objects)["CRYPTOAI_IMAGE_PULL_SECRETS"] == "registry"


def test_the_images_are_those_that_make_images_loads(render: Callable[..., Any]) -> None:
    """The same names, at the version of the package, which is the chart's too."""
    meta = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert meta["version"] == meta["appVersion"] == __version__
    objects = render()
    wanted = {pod["containers"][0]["image"] for _, pod in objects.pods()}
    wanted |= {
        value for key, value in environment(objects).items() if key in ("CRYPTOAI_IMAGE_BOT", "CRYPTOAI_IMAGE_SERVE")
    }
    assert wanted == {image.reference for image in IMAGES}
    assert all(image.startswith("localhost/") for image in wanted)


def test_bundles_get_a_claim_only_when_asked(render: Callable[..., Any]) -> None:
    """It outlives the release unless told otherwise, and an empty class is the cluster's default."""
    assert not render().of("PersistentVolumeClaim")
    objects = render(bundles__create=True, bundles__size="5Gi")
    claim = objects.named("PersistentVolumeClaim", "cryptoai-bundles")
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (other,) = render(bundles__create=True, bundles__keep=False, bundles__storageClass="fast").of(
        "PersistentVolumeClaim"
    )
    assert other["spec"]["storageClassName"] == "fast"
    assert "annotations" not in other["metadata"]


def test_pods_go_where_they_are_sent(render: Callable[..., Any]) -> None:
    """The same selector and tolerations on every pod of the release."""
    for name, pod in render(**SWITCHES["placed"]).pods():
        assert pod["nodeSelector"] == {"disk": "fast"}, name
        assert pod["tolerations"] == SWITCHES["placed"]["tolerations"], name


def test_a_pod_monitor_needs_a_cluster_that_knows_it(template: Callable[..., Any], render: Callable[..., Any]) -> None:
    """Asked for where the kind is missing, the sentence names the value and the way out."""
    refused = template(operator__podMonitor__enabled=True)
    assert refused.returncode != 0
    assert "operator.podMonitor.enabled: this cluster has no monitoring.coreos.com/v1" in refused.stderr
    objects = render("--api-versions=monitoring.coreos.com/v1", operator__podMonitor__enabled=True)
    (endpoint,) = objects.named("PodMonitor", "cryptoai-operator")["spec"]["podMetricsEndpoints"]
    assert endpoint == {"port": "metrics", "interval": "30s"}


@pytest.mark.parametrize("version", ["v1.20.2", "v1.37.0"])
def test_old_and_new_clusters_get_the_same(render: Callable[..., Any], version: str) -> None:
    """And both get the custom resource."""
    objects = render("--include-crds", f"--kube-version={version}")
    crd = objects.named("CustomResourceDefinition", "tradingbots.cryptoai.dev")
    assert crd["apiVersion"] == "apiextensions.k8s.io/v1"
    assert [o for o in objects if o is not crd] == render()


def test_an_older_cluster_is_refused(template: Callable[..., Any]) -> None:
    """Before anything is made."""
    done = template("--kube-version=v1.19.0")
    assert done.returncode != 0
    assert "kubeVersion: >=1.20.0-0" in done.stderr


def test_the_notes_say_what_to_do_next(helm: Callable[..., Any]) -> None:
    """With the names of this release."""
    done = helm("install", "cryptoai", CHART, "--namespace=desk", "--dry-run=client", "--set=bundles.create=true")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "scripts/load_bundle.sh checkpoints/best_model.pt desk first" in notes
    assert "kubectl -n desk apply -f manifests/examples/tradingbot-minimal.yaml" in notes
    assert "the claim cryptoai-bundles" in notes
