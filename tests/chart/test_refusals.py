"""Values that would leave half a release behind, or make one that cannot work, are refused with
their place; most of them the API server refuses as well, once half of the release is there.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.support.builders import Json
from tests.support.cluster import NAMESPACES
from tests.support.helm import CHART, dry_apply_path, helm, rendered

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(600)]
NAMESPACE = "refused"
Wrong = dict[str, tuple[dict[str, Any], str]]

OF_THE_SCHEMA: Wrong = {
    "a label's value": (
        {"podLabels": {"team": "a b"}},
        "at '/podLabels/team': 'a b' does not match pattern",
    ),
    "a label of every object": (
        {"commonLabels": {"team": "x" * 64}},
        f"at '/commonLabels/team': '{'x' * 64}' does not match pattern",
    ),
    "a label of nodes": (
        {"nodeSelector": {"pool": "a/b"}},
        "at '/nodeSelector/pool': 'a/b' does not match pattern",
    ),
    "a runtime class": (
        {"runtimeClassName": "Upper"},
        "at '/runtimeClassName': 'Upper' does not match pattern",
    ),
    "a priority class": (
        {"priorityClass": {"name": "a..b"}},
        "at '/priorityClass/name': 'a..b' does not match pattern",
    ),
    "as many seconds as a rollout may take": (
        {"minReadySeconds": 600},
        "at '/minReadySeconds': maximum: got 600, want 599",
    ),
    "replicas without end": (
        {"replicas": 2**31},
        "at '/replicas': maximum: got ",
    ),
    "a budget without end": (
        {"podDisruptionBudget": {"maxUnavailable": 10**10}},
        "at '/podDisruptionBudget/maxUnavailable': maximum: got ",
    ),
    "a rollout of more than everything": (
        {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
        "at '/strategy/rollingUpdate/maxUnavailable': '101%' does not match pattern",
    ),
    "a quantity": (
        {"resources": {"limits": {"memory": "64MB"}}},
        "at '/resources/limits/memory': '64MB' does not match pattern",
    ),
    "a number as a variable": (
        {"env": [{"name": "LIMIT", "value": 5}]},
        "at '/env/0/value': got number, want null or string",
    ),
    "a variable's name": (
        {"env": [{"name": "A=B", "value": "x"}]},
        "at '/env/0/name': 'A=B' does not match pattern",
    ),
    "a volume's name": (
        {"extraVolumes": [{"name": "A", "emptyDir": {}}]},
        "at '/extraVolumes/0/name': 'A' does not match pattern",
    ),
    "a mount of nothing": (
        {"extraVolumeMounts": [{"mountPath": "/x"}]},
        "at '/extraVolumeMounts/0': missing property 'name'",
    ),
}
"""The API server refuses them as well."""

WITHOUT_EFFECT: Wrong = {
    "seconds without end": (
        {"terminationGracePeriodSeconds": 10**19},
        "at '/terminationGracePeriodSeconds': maximum: got ",
    ),
    "a repository with a hole": (
        {"image": {"repository": "a//b", "tag": "1"}},
        "at '/image/repository': 'a//b' does not match pattern",
    ),
    "a repository above its own": (
        {"image": {"repository": "a/../b"}},
        "at '/image/repository': 'a/../b' does not match pattern",
    ),
    "a Secret that cannot be": (
        {"imagePullSecrets": [{"name": "A B"}]},
        "at '/imagePullSecrets/0/name': 'A B' does not match pattern",
    ),
    "a Secret twice": (
        {"imagePullSecrets": [{"name": "a"}, {"name": "a"}]},
        "at '/imagePullSecrets': items at 0 and 1 are equal",
    ),
    "no interval": (
        {"monitoring": {"interval": "0s"}},
        "at '/monitoring/interval': '0s' does not match pattern",
    ),
    "an interval of an age": (
        {"monitoring": {"interval": "99999999999h"}},
        "at '/monitoring/interval': '99999999999h' does not match pattern",
    ),
    "no timeout": (
        {"monitoring": {"scrapeTimeout": "0s"}},
        "at '/monitoring/scrapeTimeout': '0s' does not match pattern",
    ),
    "an excluded namespace without a name": (
        {"config": {"namespaces": {"excluded": [""]}}},
        "at '/config/namespaces/excluded/0': '' does not match pattern",
    ),
    "a glob": (
        {"config": {"exemptions": {"namespaces": ["team-*"]}}},
        "at '/config/exemptions/namespaces/0': 'team-*' does not match pattern",
    ),
    "an empty audience": (
        {"config": {"locks": {"allowedAudiences": [""]}}},
        "at '/config/locks/allowedAudiences/0': minLength: got 0, want 1",
    ),
    "a name to listen at": (
        {"listen": {"address": "dead"}},
        'listen.address: must be an IP address, such as 0.0.0.0 or [::]; it is "dead"',
    ),
    "half an address": (
        {"listen": {"address": "999.1"}},
        'listen.address: must be an IP address, such as 0.0.0.0 or [::]; it is "999.1"',
    ),
    "half a bracket": (
        {"listen": {"address": "[::1"}},
        'listen.address: must be an IP address, such as 0.0.0.0 or [::]; it is "[::1"',
    ),
    "an address of the pod alone": (
        {"listen": {"address": "127.0.0.1"}},
        "listen.address: must not be 127.0.0.1, where the API server does not reach a pod",
    ),
    "another address of the pod alone": (
        {"listen": {"address": "[::1]"}},
        "listen.address: must not be [::1], where the API server does not reach a pod",
    ),
    "a trial": (
        {"extraArgs": ["--standalone=/x"]},
        "extraArgs: must not have --standalone=/x, with which no replica serves the cluster",
    ),
    "help": (
        {"extraArgs": ["--help"]},
        "extraArgs: must not have --help, with which no replica serves the cluster",
    ),
}
"""The API server takes them."""

TOGETHER: Wrong = {
    "a label's key": (
        {"commonLabels": {"Example.com/team": "x"}},
        'commonLabels: must not have "Example.com/team", which is no key of a label; such as team or',
    ),
    "a long prefix": (
        {"commonLabels": {f"{'a.b' * 84}cc/n": "x"}},
        'commonLabels: must not have "a.ba.b',
    ),
    "an annotation's key": (
        {"podAnnotations": {"a/b/c": "x"}},
        'podAnnotations: must not have "a/b/c", which is no key of an annotation; such as team or',
    ),
    "an annotation's key of the webhooks": (
        {"certificates": {"webhookAnnotations": {"a b": "x"}}},
        'certificates.webhookAnnotations: must not have "a b", which is no key of an annotation',
    ),
    "a key of nodes": (
        {"nodeSelector": {"-pool": "x"}},
        'nodeSelector: must not have "-pool", which is no key of a label',
    ),
    "a long prefix of a network": (
        {"networkPolicy": {"controlPlane": ["10.0.0.0/8", "1.2.3.4/33"]}},
        "networkPolicy.controlPlane[1]: must be a network without bits beyond its prefix, such as 192.0.2.0/24 or 2001:db8::/64; "
        'it is "1.2.3.4/33"',
    ),
    "numbers that are no address": (
        {"networkPolicy": {"controlPlane": ["999.1.1.1/8"]}},
        'networkPolicy.controlPlane[0]: must be a network without bits beyond its prefix, such as 192.0.2.0/24 or 2001:db8::/64; it is "999',
    ),
    "letters that are no address": (
        {"networkPolicy": {"apiServer": {"networks": ["a:b/1"]}}},
        'networkPolicy.apiServer.networks[0]: must be a network without bits beyond its prefix, such as 192.0.2.0/24 or 2001:db8::/64; it is "a:b',
    ),
    "an address of a host": (
        {"networkPolicy": {"controlPlane": ["10.0.0.5/24"]}},
        'it is "10.0.0.5/24"',
    ),
    "an address of a host in IPv6": (
        {"networkPolicy": {"controlPlane": ["1:2::8/124"]}},
        'it is "1:2::8/124"',
    ),
    "an address with a zero in front": (
        {"networkPolicy": {"controlPlane": ["010.0.0.0/8"]}},
        'it is "010.0.0.0/8"',
    ),
    "an address of IPv4 in IPv6": (
        {"networkPolicy": {"controlPlane": ["::ffff:192.0.2.0/120"]}},
        'it is "::ffff:192.0.2.0/120"',
    ),
    "an address with two holes": (
        {"networkPolicy": {"apiServer": {"networks": ["1::2::3/64"]}}},
        'it is "1::2::3/64"',
    ),
    "nobody": (
        {"networkPolicy": {"metricsFrom": [{}]}},
        "networkPolicy.metricsFrom[0]: must have a podSelector, a namespaceSelector or an ipBlock",
    ),
    "a peer that is two": (
        {"networkPolicy": {"metricsFrom": [{"podSelector": {}, "ipBlock": {"cidr": "::/0"}}]}},
        "networkPolicy.metricsFrom[0]: must not have an ipBlock beside a selector: make two peers",
    ),
    "a network that is none": (
        {"networkPolicy": {"metricsFrom": [{"ipBlock": {"cidr": "10.0.0.0"}}]}},
        "networkPolicy.metricsFrom[0].ipBlock.cidr: must be a network without bits beyond its prefix, such as 192.0.2.0/24 or "
        '2001:db8::/64; it is "10.0.0.0"',
    ),
    "a network without an address": (
        {"networkPolicy": {"metricsFrom": [{"ipBlock": {"except": []}}]}},
        "networkPolicy.metricsFrom[0].ipBlock.cidr: must be a network without bits",
    ),
    "less than is requested": (
        {"resources": {"limits": {"memory": "65535Ki"}}},
        "resources.limits.memory: must be at least resources.requests.memory, which is 64Mi; "
        "it is 65535Ki",
    ),
    "a variable twice": (
        {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
        'env[1].name: must not be "A" again: each variable once',
    ),
    "a variable of two values": (
        {
            "env": [
                {
                    "name": "A",
                    "value": "1",
                    "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                }
            ]
        },
        "env[0]: must have value or valueFrom, and A has both",
    ),
    "no server of names": (
        {"dnsPolicy": "None"},
        "dnsConfig.nameservers: must be given with dnsPolicy None, such as [192.0.2.53]",
    ),
    "a rollout that cannot begin": (
        {"strategy": {"rollingUpdate": {"maxSurge": 0}}},
        "strategy.rollingUpdate: must not have 0 for both maxUnavailable and maxSurge",
    ),
    "our volume": (
        {"extraVolumes": [{"name": "token", "emptyDir": {}}]},
        'extraVolumes[0].name: must not be "token", which is a volume of boundtoken\'s own',
    ),
    "our volume of another mode": (
        {"certificates": {"mode": "secret"}, "extraVolumes": [{"name": "tls", "emptyDir": {}}]},
        'extraVolumes[0].name: must not be "tls", which is a volume of boundtoken\'s own',
    ),
    "a volume twice": (
        {"extraVolumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]},
        'extraVolumes[1].name: must not be "a" again: each volume once',
    ),
    "a volume that is nowhere": (
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/a"}]},
        'extraVolumeMounts[0].name: must be a volume of extraVolumes; it is "a"',
    ),
    "a mount over ours": (
        {"extraVolumeMounts": [{"name": "config", "mountPath": "/run/boundtoken/config"}]},
        'extraVolumeMounts[0].mountPath: must not be "/run/boundtoken/config", where another volume',
    ),
}
"""The API server refuses them as well. No schema can say them in words."""

WRONG = OF_THE_SCHEMA | WITHOUT_EFFECT | TOGETHER


@pytest.mark.parametrize("wrong", WRONG)
def test_what_would_fail_later_is_refused_where_it_stands(wrong: str) -> None:
    given, expected = WRONG[wrong]
    with pytest.raises(ValueError, match=re.escape(expected)):
        rendered(given)


@pytest.fixture(scope="module")
def plane_with_a_namespace(plane: ControlPlane) -> Iterator[ControlPlane]:
    plane.call("POST", NAMESPACES, {"metadata": {"name": NAMESPACE}})
    yield plane
    plane.call("DELETE", f"{NAMESPACES}/{NAMESPACE}")


@pytest.fixture(scope="module")
def credulous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart without its refusals."""
    chart = tmp_path_factory.mktemp("charts") / "boundtoken"
    for path in CHART.rglob("*"):
        if path.is_file() and path.name != "values.schema.json":
            there = chart / path.relative_to(CHART)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text(
                path.read_text().replace('{{- include "boundtoken.refuse" . -}}\n', "")
            )
    return chart


def refused(plane: ControlPlane, item: Json) -> bool:
    """Whether the API server refuses an object as Helm applies it."""
    kind = "application/apply-patch+yaml"
    try:
        plane.call("PATCH", dry_apply_path(item), item, kind=kind)
    except StatusError as problem:
        assert problem.code in (400, 422, 500), problem  # 500: a list with one key twice
        return True
    return False


@pytest.mark.parametrize("wrong", OF_THE_SCHEMA | TOGETHER)
def test_the_api_server_refuses_it_as_well(
    plane_with_a_namespace: ControlPlane, credulous: Path, wrong: str
) -> None:
    """So that the chart does not refuse what would work."""
    given = yaml.safe_dump(WRONG[wrong][0])
    options = ["--namespace", NAMESPACE, "--values", "-", "--skip-tests"]
    done = helm("template", "boundtoken", str(credulous), *options, stdin=given)
    assert done.returncode == 0, done.stderr
    objects = [
        item
        for item in yaml.safe_load_all(done.stdout)
        if item["kind"] in ("Deployment", "NetworkPolicy", "PodDisruptionBudget")
        or item["kind"].endswith("WebhookConfiguration")
    ]
    assert any(refused(plane_with_a_namespace, item) for item in objects)


def test_a_chart_that_is_there_twice_is_refused_and_once_by_another_name_is_not(
    tmp_path: Path,
) -> None:
    """Its objects have one name, so that one of both would overwrite the other."""

    def parent(*aliases: str) -> str:
        dependencies = [{"name": "boundtoken", "version": "*", "alias": name} for name in aliases]
        head = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
        folder = tmp_path / "-".join(aliases)
        shutil.copytree(CHART, folder / "charts/boundtoken")
        own = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
        for one in dependencies:
            one["version"] = own
        (folder / "Chart.yaml").write_text(yaml.safe_dump({**head, "dependencies": dependencies}))
        done = helm("template", "both", str(folder), "--namespace", "tokens")
        return done.stderr if done.returncode else "rendered"

    assert parent("first") == "rendered"
    assert re.search(
        r"parent/charts/(first|second): must be once in a release, since its objects are called "
        r"boundtoken whatever its alias is, and parent/charts/(first|second) has made them",
        parent("first", "second"),
    )
