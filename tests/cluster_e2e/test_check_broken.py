"""`boundtoken check` on the real control plane: what is broken in ways that are hard to make."""

import contextlib
from collections.abc import Iterator

from tests.cluster_e2e.breaking import checked
from tests.controlplane.cluster import MERGE_PATCH
from tests.support.builders import Json
from tests.support.cluster import NAMESPACES, Cluster


@contextlib.contextmanager
def a_namespace(cluster: Cluster, name: str, *inside: tuple[str, Json]) -> Iterator[str]:
    """A namespace that requests injection, with objects by their resource; gone afterwards."""
    annotations = {"boundtoken.dev/inject": "enabled", "boundtoken.dev/automount": "disabled"}
    path = f"{NAMESPACES}/{name}"
    cluster.plane.call("POST", NAMESPACES, {"metadata": {"name": name, "annotations": annotations}})
    for resource, body in inside:
        cluster.plane.call("POST", f"{path}/{resource}", {"metadata": {"name": "x"}, **body})
    try:
        yield path
    finally:
        cluster.plane.call("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE_PATCH)
        cluster.plane.call("DELETE", path)


def test_a_namespace_that_lets_nothing_in_is_no_fault_and_the_next_is_tried(
    installed: Cluster,
) -> None:
    quota = ("resourcequotas", {"spec": {"hard": {"pods": "0"}}})
    least = {"type": "Container", "min": {"memory": "1Gi"}}
    limits = ("limitranges", {"spec": {"limits": [least]}})
    plane = installed.plane
    with (
        a_namespace(installed, "a0-ending") as ending,
        a_namespace(installed, "a1-quota", quota),
        a_namespace(installed, "a2-limits", limits),
        a_namespace(installed, "a3-open"),
    ):
        body = {"metadata": {"finalizers": ["example.com/kept"]}}
        plane.call("PATCH", ending, body, kind=MERGE_PATCH)
        plane.call("DELETE", ending)
        found = checked(installed)
        refused = checked(installed, "--dry-run-namespace", "a1-quota")
        ended = checked(installed, "--dry-run-namespace", "a0-ending")
    assert found.text("dry-run-pod") == "in namespace a3-open: injected"
    assert found.status("dry-run-pod") == "passed"
    for one, why in ((refused, "exceeded quota"), (ended, "is being terminated")):
        assert one.status("dry-run-pod") == "unknown"
        assert why in one.text("dry-run-pod")
        assert one.text("dry-run-pod").endswith("name another namespace with --dry-run-namespace")
