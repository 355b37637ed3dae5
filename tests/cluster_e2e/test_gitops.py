"""Namespaces from a repository: applied again and again by both ways of `kubectl apply`, over an
upgrade and the way back, and while two releases answer.
"""

import contextlib
from pathlib import Path

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane, KubectlError
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import Json, a_bare_pod, volume_names
from tests.support.cluster import NAMESPACES, Cluster, namespaces_unreviewed
from tests.support.paths import ROOT
from tests.support.releases import BEFORE, install, overlay, unpacked
from tests.support.waiting import wait_for
from webhook.core import names

WAYS = {"client": (), "server": ("--server-side",)}
GOOD = {names.INJECT: "enabled", names.AUTOMOUNT: "disabled", names.ENFORCE: "bound"}
FAULTY = {**GOOD, names.AUTOMOUNT: "false"}
PLAIN = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"


def manifests(
    prefix: str, annotations: dict[str, str], fault: dict[str, str], **labels: str
) -> str:
    """Twenty namespaces, of which every second one has the annotations of `fault`."""
    return yaml.safe_dump_all(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": f"{prefix}-{number}",
                "annotations": fault if number % 2 else annotations,
                "labels": labels,
            },
        }
        for number in range(20)
    )


def apply(plane: ControlPlane, text: str, *more: str) -> tuple[list[str], list[str]]:
    """The warnings, and the errors, of applying all of it."""
    try:
        lines = plane.run_kubectl("apply", *more, "-f", "-", stdin=text).stderr.splitlines()
    except KubectlError as problem:
        lines = str(problem).splitlines()
    return (
        [line for line in lines if line.startswith("Warning: boundtoken.dev/")],
        [line for line in lines if "denied the request" in line],
    )


def stored(plane: ControlPlane, prefix: str) -> list[str | None]:
    """What each of these namespaces has for automount."""
    found: list[Json] = plane.call("GET", NAMESPACES)["items"]
    return [
        (item["metadata"].get("annotations") or {}).get(names.AUTOMOUNT)
        for item in found
        if item["metadata"]["name"].startswith(f"{prefix}-")
    ]


@pytest.mark.parametrize("way", WAYS)
def test_twenty_namespaces_are_applied_and_only_introduced_faults_stop_their_own(
    cluster: Cluster, way: str
) -> None:
    plane, more = cluster.plane, WAYS[way]
    prefix = f"gitops-{way}"
    for dry_run in (["--dry-run=server"], []):
        _, denied = apply(plane, manifests(prefix, GOOD, FAULTY), *more, *dry_run)
        assert len(denied) == 10
        assert all('(did you mean "disabled"?)' in line for line in denied)
    assert stored(plane, prefix) == ["disabled"] * 10
    good = manifests(prefix, GOOD, GOOD)
    for _ in range(2):
        assert apply(plane, good, *more) == ([], [])
        assert apply(plane, good, *more, "--dry-run=server", "--warnings-as-errors") == ([], [])
    assert len(apply(plane, manifests(prefix, GOOD, FAULTY), *more)[1]) == 10
    assert stored(plane, prefix) == ["disabled"] * 20
    with namespaces_unreviewed(cluster):
        assert apply(plane, manifests(prefix, GOOD, FAULTY), *more) == ([], [])
    warnings, denied = apply(plane, manifests(prefix, GOOD, FAULTY, team="a"), *more)
    assert (len(warnings), denied) == (10, [])
    assert all('automount="false" on namespace "' in line for line in warnings)
    assert apply(plane, good, *more) == ([], [])


@pytest.mark.parametrize(("way", "answers"), [("client", 0), ("server", 2)])
def test_an_unchanged_demand_is_answered_where_kubectl_sends_it(
    cluster: Cluster, way: str, answers: int
) -> None:
    plane, name = cluster.plane, cluster.namespace()
    cluster.create(name, a_bare_pod())
    metadata = {"name": name, "annotations": {names.ENFORCE: "bound"}}
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    command = ("apply", *WAYS[way], "-f", "-")
    for more, expected in (([], 2), (["--dry-run=server"], answers)):
        lines = plane.run_kubectl(*command, *more, stdin=text).stderr.splitlines()
        told = [line for line in lines if "existing pod" in line or "[token-lifetime]" in line]
        assert len(told) == expected, lines


def beside(plane: ControlPlane, release: Path) -> None:
    """One more replica, of another release, behind the same Service."""
    documents = yaml.safe_load_all(plane.kubectl("kustomize", str(release)))
    (deployment,) = (item for item in documents if item["kind"] == "Deployment")
    deployment["metadata"]["name"] = "boundtoken-before"
    spec, label = deployment["spec"], {"release": "before"}
    spec["replicas"] = 1
    spec["selector"]["matchLabels"] |= label
    spec["template"]["metadata"]["labels"] |= label
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(deployment))


def test_an_upgrade_the_way_back_and_two_releases_beside_each_other(tmp_path: Path) -> None:
    code = unpacked(BEFORE, tmp_path / "code")
    before = overlay(tmp_path / "before", code, code, PLAIN)
    now = overlay(tmp_path / "now", ROOT, configuration=PLAIN)
    good, faulty = manifests("r", GOOD, GOOD), manifests("r", GOOD, FAULTY)
    with ControlPlane() as plane:
        plane.kubectl("apply", "-k", str(before))
        with Kubelet(plane) as kubelet:
            install(plane, kubelet, before)
            assert apply(plane, faulty, "--server-side") == ([], [])
            install(plane, kubelet, now)
            wait_for(lambda: apply(plane, manifests("probe", FAULTY, FAULTY))[1], 30)
            warnings, denied = apply(plane, faulty, "--server-side")
            assert (len(warnings), denied) == (10, [])
            assert apply(plane, good, "--server-side") == ([], [])
            assert len(apply(plane, faulty, "--server-side")[1]) == 10
            beside(plane, before)
            wait_for(lambda: kubelet.proxy.ready("boundtoken") == 3, 60)
            answers = set()
            for _ in range(20):
                plane.egress.cut()  # the API server keeps a connection to one replica
                _, denied = apply(plane, faulty, "--server-side")
                answers.add(len(denied))
                assert apply(plane, good, "--server-side") == ([], [])
                if len(answers) > 1:
                    break
            # Best effort: the release before knows nothing of faults.
            assert len(answers) > 1, answers
            plane.kubectl("delete", "deployment/boundtoken-before", "-n", "boundtoken-system")
            install(plane, kubelet, before)
            wait_for(lambda: apply(plane, faulty, "--server-side") == ([], []), 30)
            assert apply(plane, good, "--server-side") == ([], [])
            with contextlib.suppress(KubectlError):
                plane.kubectl("create", "serviceaccount", "default", "-n", "r-0")
            pod = plane.call("POST", f"{NAMESPACES}/r-0/pods?dryRun=All", a_bare_pod())
            assert volume_names(pod) == ["boundtoken"]
