"""Who annotates a namespace hears at once: typed as in the first hour of people who tried the first
release, on the real API server.
"""

import pytest
import yaml

from tests.controlplane.cluster import MERGE_PATCH, ControlPlane, KubectlError
from tests.support.builders import Json, a_bare_pod, volume_names
from tests.support.cluster import NAMESPACES, Cluster, namespaces_unreviewed
from tests.support.waiting import wait_for
from webhook.core import names

INJECT = 'boundtoken.dev/inject="true": must be "enabled" or "disabled", spelled exactly so (did you mean "enabled"?)'


def refused(plane: ControlPlane, *arguments: str, stdin: str | None = None) -> str:
    """What kubectl says of a request that is refused."""
    with pytest.raises(KubectlError) as caught:
        plane.run_kubectl(*arguments, stdin=stdin)
    return str(caught.value).removeprefix(f"kubectl {' '.join(arguments)}: ")


def warned(plane: ControlPlane, *arguments: str, stdin: str | None = None) -> list[str]:
    """The warnings of a request that is not refused."""
    lines = plane.run_kubectl(*arguments, stdin=stdin).stderr.splitlines()
    return [line.removeprefix("Warning: ") for line in lines]


def annotations_of(plane: ControlPlane, namespace: str) -> dict[str, str]:
    metadata = plane.call("GET", f"{NAMESPACES}/{namespace}")["metadata"]
    return {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if name.startswith(names.DOMAIN)
    }


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    return cluster.namespace()


def test_a_typo_that_took_all_access_away_is_refused(cluster: Cluster, namespace: str) -> None:
    plane = cluster.plane
    typed = ("annotate", "ns", namespace, "boundtoken.dev/inject=true", "boundtoken.dev/automount=disabled")  # fmt: skip
    for dry_run in ([], ["--dry-run=server"]):
        message = refused(plane, *typed, *dry_run)
        assert "Forbidden" in message
        assert message.endswith(f'denied the request: namespace "{namespace}": {INJECT}')
    assert annotations_of(plane, namespace) == {}
    pod, _ = cluster.create(namespace, a_bare_pod())
    assert volume_names(pod)[0].startswith("kube-api-access-")
    assert warned(plane, *typed[:3], "boundtoken.dev/inject=enabled", typed[4]) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("max-expiration-seconds=1h", ' (did you mean "3600"?)'),
        ("enforce=restricted", ' (did you mean "strict"?)'),
        ("enforce=Bound", ' (did you mean "bound"?)'),
        ("enforce-version=v9", 'must be "v1" or "latest"'),
    ],
)
def test_a_value_that_nobody_checked_is_refused(
    cluster: Cluster, namespace: str, typed: str, meant: str
) -> None:
    message = refused(cluster.plane, "annotate", "ns", namespace, f"boundtoken.dev/{typed}")
    assert message.endswith(meant)
    assert annotations_of(cluster.plane, namespace) == {}


def test_labels_and_unknown_names_are_warned_of(cluster: Cluster, namespace: str) -> None:
    plane = cluster.plane
    assert warned(plane, "label", "ns", namespace, "boundtoken.dev/inject=enabled") == [
        f'boundtoken.dev/inject="enabled" on namespace "{namespace}": ignored, it is a label, and boundtoken reads annotations only'
    ]
    assert warned(plane, "label", "ns", namespace, "boundtoken.dev/inject-") == []
    assert warned(plane, "annotate", "ns", namespace, "boundtoken.dev/audiance=vault") == [
        f'boundtoken.dev/audiance="vault" on namespace "{namespace}": ignored, there is no such annotation; did you mean '
        "boundtoken.dev/audience?"
    ]
    assert warned(plane, "annotate", "ns", namespace, "boundtoken.dev/expiration-seconds=60") != []
    manifest = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"{namespace}-new", "annotations": {names.INJECT: "true"}},
        }
    )
    assert INJECT in refused(plane, "create", "-f", "-", stdin=manifest)


def test_a_fault_from_before_leaves_the_namespace_editable_and_deletable(cluster: Cluster) -> None:
    plane = cluster.plane
    with namespaces_unreviewed(cluster):
        faulty = cluster.namespace(inject="true", automount="disabled")
    (told,) = warned(plane, "label", "ns", faulty, "team=a")
    assert told.startswith(
        f'boundtoken.dev/inject="true" on namespace "{faulty}": ignored, must be'
    )
    assert warned(plane, "annotate", "ns", faulty, "boundtoken.dev/audience=vault")
    assert "inject" not in refused(
        plane, "annotate", "ns", faulty, "boundtoken.dev/enforce=Bound", "boundtoken.dev/inject-"
    )
    path = f"{NAMESPACES}/{faulty}"
    plane.call("PATCH", path, {"metadata": {"finalizers": ["example.com/stays"]}}, kind=MERGE_PATCH)
    body = {"metadata": {"annotations": {names.ENFORCE: "Bound"}}}
    plane.call("PATCH", f"{path}/status", body, kind=MERGE_PATCH)
    current = plane.call("GET", path)
    plane.call("PUT", f"{path}/finalize", {**current, "metadata": {**current["metadata"], "annotations": {names.WARN: "Bound"}}})  # fmt: skip
    plane.call("DELETE", path)
    for key in (names.WARN, names.AUDIT):  # it terminates now, and waits for its finalizer
        plane.call(
            "PATCH", path, {"metadata": {"annotations": {key: "nonsense"}}}, kind=MERGE_PATCH
        )
    plane.call("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE_PATCH)
    wait_for(lambda: f"namespace/{faulty}\n" not in plane.kubectl("get", "ns", "-o", "name"), 30)


def a_dry_run(namespace: str, *more: str) -> tuple[str, ...]:
    typed = ("annotate", "ns", namespace, "boundtoken.dev/enforce=bound", "--overwrite")
    return (*typed, "--dry-run=server", *more)


def test_a_preview_tells_where_nothing_is_looked_at(
    cluster: Cluster, configured: dict[str, Json]
) -> None:
    plane = cluster.plane
    excluded, exempt = cluster.namespace(), cluster.namespace()
    spared = {**configured["exemptions"], "namespaces": [exempt]}
    cluster.configure({**configured, "namespaces": {"excluded": [excluded]}, "exemptions": spared})
    for name in ("kube-system", "kube-public", excluded):
        assert warned(plane, *a_dry_run(name)) == [
            f'namespace "{name}" is excluded from boundtoken, and these have no effect: boundtoken.dev/enforce'
        ]
    assert warned(plane, *a_dry_run("boundtoken-system")) == [
        'namespace "boundtoken-system" is boundtoken\'s own, and these have no effect: boundtoken.dev/enforce'
    ]
    assert warned(plane, *a_dry_run(exempt)) == [
        f'namespace "{exempt}" is exempt from enforcement (exemptions.namespaces), and these are ignored: boundtoken.dev/enforce'
    ]
