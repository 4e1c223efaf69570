"""What the operator may do, as a table: a right that is not in it is a failure here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptoai.deployment.access import access_objects
from cryptoai.deployment.workload import Workload

READ = {"get", "list", "watch"}
OWN = READ | {"create", "patch", "delete"}
RIGHTS = {
    ("cryptoai.dev", "tradingbots"): READ,
    ("cryptoai.dev", "tradingbots/status"): {"patch"},
    ("cryptoai.dev", "tradingbots/finalizers"): {"update"},
    ("apps", "deployments"): OWN,
    ("apps", "statefulsets"): OWN,
    ("", "configmaps"): OWN,
    ("", "services"): OWN,
    ("", "serviceaccounts"): OWN,
    ("", "persistentvolumeclaims"): OWN,
    ("rbac.authorization.k8s.io", "roles"): OWN,
    ("rbac.authorization.k8s.io", "rolebindings"): OWN,
    ("", "pods"): READ,
    ("", "events"): {"create", "patch"},
}
NAMESPACES = {("", "namespaces"): {"list", "watch"}}

Table = dict[tuple[str, str], set[str]]


def table(rules: list[dict[str, Any]]) -> Table:
    """(group, resource) -> verbs."""
    rights: Table = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                rights.setdefault((group, resource), set()).update(rule["verbs"])
    return rights


def test_the_operator_of_a_cluster_has_these_rights(render: Callable[..., Any]) -> None:
    """No more and no fewer; none on Secrets, no wildcard, no bind, no escalate."""
    assert table(render().named("ClusterRole", "cryptoai-operator")["rules"]) == RIGHTS | NAMESPACES


def test_the_operator_of_a_namespace_has_them_there_only(render: Callable[..., Any]) -> None:
    """Nothing of the cluster's is left."""
    objects = render(operator__watchNamespace="bots", rbac__aggregate=False)
    role = objects.named("Role", "cryptoai-operator")
    assert role["metadata"]["namespace"] == "bots"
    assert table(role["rules"]) == RIGHTS
    binding = objects.named("RoleBinding", "cryptoai-operator")
    assert binding["metadata"]["namespace"] == "bots"
    assert not objects.of("ClusterRole") + objects.of("ClusterRoleBinding")


def test_its_lease_is_its_own(render: Callable[..., Any]) -> None:
    """The chart makes it, and the ConfigMap of the watch's heartbeat, so that both go with the release."""
    objects = render(operator__watchNamespace="bots")
    assert objects.named("Lease", "cryptoai-operator")["metadata"]["namespace"] == "desk"
    assert objects.named("ConfigMap", "cryptoai-operator-heartbeat")["metadata"]["namespace"] == "bots"
    (touch,) = objects.named("Role", "cryptoai-operator-lease")["rules"]
    assert table([touch]) == {("coordination.k8s.io", "leases"): {"get", "update", "patch"}}
    assert touch["resourceNames"] == ["cryptoai-operator"]


def test_it_holds_every_right_that_it_grants(render: Callable[..., Any]) -> None:
    """Or the API server would refuse the Role of a bot."""
    bot = Workload(
        name="btc", namespace="desk", owner={}, assets=("BTCUSDT",), claim="bundles", path="first", settings=""
    )
    roles = [o for o in access_objects(bot) if o["kind"] == "Role"]
    assert roles
    held = table(render().named("ClusterRole", "cryptoai-operator")["rules"])
    for role in roles:
        for what, verbs in table(role["rules"]).items():
            assert verbs <= held[what]


def test_every_binding_gives_to_the_operator_alone(render: Callable[..., Any]) -> None:
    """Each binds a role that the chart makes to the one account in the release's namespace."""
    for values in ({}, {"operator__watchNamespace": "bots"}):
        objects = render(**values)
        bindings = objects.of("RoleBinding") + objects.of("ClusterRoleBinding")
        assert len(bindings) == 2
        for binding in bindings:
            objects.named(binding["roleRef"]["kind"], binding["roleRef"]["name"])
            account = {"kind": "ServiceAccount", "name": "cryptoai-operator", "namespace": "desk"}
            assert binding["subjects"] == [account]


def test_people_get_bots_through_the_clusters_own_roles(render: Callable[..., Any]) -> None:
    """Viewers see; editors may also engage the kill switch; nobody but the operator writes a status."""
    objects = render()
    view, edit = (objects.named("ClusterRole", f"cryptoai-{name}") for name in ("view", "edit"))
    assert table(view["rules"]) == {
        ("cryptoai.dev", "tradingbots"): READ,
        ("cryptoai.dev", "tradingbots/status"): READ,
    }
    assert table(edit["rules"]) == {
        ("cryptoai.dev", "tradingbots"): {"create", "update", "patch", "delete", "deletecollection"}
    }
    aggregated = "rbac.authorization.k8s.io/aggregate-to-view"
    assert aggregated in view["metadata"]["labels"]
    assert aggregated not in edit["metadata"]["labels"]
    assert not [
        o for o in render(rbac__aggregate=False).of("ClusterRole") if o["metadata"]["name"] != "cryptoai-operator"
    ]
