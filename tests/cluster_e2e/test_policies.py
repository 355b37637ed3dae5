"""Enforcement inside the API server: no replica is there, and what the namespaces demand holds.

Every pod is judged twice, by the policy in the real API server and by the rules here, and must get
the same sentences.
"""

import http.client
import itertools
import json
import re
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
import yaml

from tests.cluster_e2e.generated import API, CLUSTERS, Generator
from tests.cluster_e2e.generated import NAMESPACES as GENERATED
from tests.conformance.generate import HERE
from tests.controlplane.cluster import MERGE_PATCH, ControlPlane, KubectlError, StatusError
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import (
    COMPLIANT,
    VIOLATING,
    Json,
    a_bare_pod,
    a_container,
    a_pod,
    a_review,
    automounted,
    validation_of,
    with_tokens,
)
from tests.support.cluster import BINDINGS, NAMESPACES, Cluster, denied_by, life, quiet, scale
from tests.support.long import LONG
from tests.support.maxima import MAXIMA
from tests.support.paths import ROOT
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.core import names, policy, review
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy, Exemptions
from webhook.enforcement import rules
from webhook.enforcement.policies import bindings

YEAR = {"expirationSeconds": 3607}
PLAIN = ClusterPolicy(api_audiences=(API,))


@pytest.fixture(scope="module")
def away(plane: ControlPlane, kubelet: Kubelet) -> Iterator[Cluster]:
    """The control plane while boundtoken has no replica."""
    cluster = Cluster(plane, kubelet)
    before = {name: cluster.settings(name) for name in names.POLICY_BINDINGS}
    scale(cluster, 0)
    yield cluster
    for name, settings in before.items():
        put_settings(cluster, settings, name)
    scale(cluster, 2)


def put_settings(cluster: Cluster, settings: dict[str, str], name: str = names.POD_POLICY) -> None:
    """Give a binding exactly these annotations of our domain."""
    change = bindings.changes(cluster.settings(name), settings)
    cluster.plane.call(
        "PATCH", f"{BINDINGS}/{name}", {"metadata": {"annotations": change}}, kind=MERGE_PATCH
    )


@pytest.fixture
def settings(away: Cluster) -> Iterator[Any]:
    """Changes the settings of the bindings; they are those of the default configuration before and
    after.
    """

    def put(layer: ClusterPolicy | dict[str, str]) -> None:
        annotations = layer if isinstance(layer, dict) else bindings.annotations(layer)
        for name in names.POLICY_BINDINGS:
            put_settings(away, annotations, name)

    put(PLAIN)
    yield put
    put(PLAIN)


def expected(pod: Json, cluster: ClusterPolicy, namespace: str, annotations: dict[str, str]) -> str:
    """What the rules here say of creating this pod; empty where it may be."""
    request = review.decode_full(msgspec.json.encode(a_review(pod, namespace=namespace)))
    given = {names.DOMAIN + name: value for name, value in annotations.items()}
    return validation_of(request, cluster, policy.resolve_namespace(cluster, given)).denial


class Creator:
    """Creates pods under dry run over one connection for each thread; use it with `with`."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._kept = threading.local()
        self._connections: list[http.client.HTTPSConnection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def __call__(self, namespace: str, pod: Json) -> str:
        """Why the policy refuses it; empty where it is created. Raises: StatusError, where anything
        else refuses it.
        """
        if not hasattr(self._kept, "connection"):
            context = ssl.create_default_context(cafile=str(self._plane.ca_file))
            self._kept.connection = http.client.HTTPSConnection(
                "127.0.0.1", self._plane.port, context=context, timeout=60
            )
            self._connections.append(self._kept.connection)
        headers = {
            "Authorization": f"Bearer {self._plane.tokens['admin']}",
            "Content-Type": "application/json",
        }
        self._kept.connection.request(
            "POST", f"{NAMESPACES}/{namespace}/pods?dryRun=All", json.dumps(pod), headers
        )
        with self._kept.connection.getresponse() as answer:
            status = json.loads(answer.read())
        return "" if answer.status == 201 else denied_by(StatusError(answer.status, status))


def wait_for_policy(cluster: Cluster, namespace: str, layer: ClusterPolicy) -> None:
    """Wait until the API server judges a namespace under this configuration: floor and locks show
    in the denial.
    """
    probe = with_tokens({"expirationSeconds": 1 << 32}, name="probe")
    annotations = {"enforce": "bound"}
    wait_for(
        lambda: cluster.denial(namespace, probe) == expected(probe, layer, namespace, annotations),
        15,
    )


PODS = 1012 if LONG else 308


@pytest.mark.parametrize("number", range(len(CLUSTERS)))
def test_two_judges_say_the_same_of_generated_pods(
    away: Cluster, settings: Any, number: int
) -> None:
    layer = CLUSTERS[number]
    namespaces = [
        (
            quiet(away, **{key.replace("-", "_"): text for key, text in annotations.items()}),
            annotations,
        )
        for annotations in GENERATED
    ]
    settings(layer)
    wait_for_policy(away, namespaces[0][0], layer)
    generator = Generator(number)
    turns = itertools.cycle(namespaces)
    jobs = [(*next(turns), generator.pod(f"pod-{index}")) for index in range(PODS)]
    with Creator(away.plane) as create, ThreadPoolExecutor(4) as pool:
        messages = list(pool.map(lambda job: create(job[0], job[2]), jobs))
    expectations = [
        expected(pod, layer, namespace, annotations) for namespace, annotations, pod in jobs
    ]
    for (_, annotations, pod), by_policy, by_rules in zip(
        jobs, messages, expectations, strict=True
    ):
        assert by_policy == by_rules, (annotations, pod)
    denied = sum(map(bool, messages))
    assert len(jobs) // 10 < denied < len(jobs) * 95 // 100
    slugs = ("token-lifetime", "token-audience", "automounted-volume", "token-mount")
    assert [slug for slug in slugs if not any(f"[{slug}]" in message for message in messages)] == []


@pytest.mark.usefixtures("settings")
def test_two_judges_advise_the_same_where_injection_would_help(away: Cluster) -> None:
    messages = []
    for inject in ("", "disabled", "enabled", "replace", "Enabled"):
        annotations = {"enforce": "strict", **({"inject": inject} if inject else {})}
        namespace = quiet(away, **annotations)
        wait_for(lambda namespace=namespace: away.denial(namespace, VIOLATING), 15)
        for pod_inject in ("", "disabled", "enabled", "Disabled"):
            pod = automounted(a_pod(annotations={names.INJECT: pod_inject} if pod_inject else {}))
            pod["metadata"] = {"name": "web", "annotations": pod["metadata"].get("annotations", {})}
            messages.append(away.denial(namespace, pod))
            assert messages[-1] == expected(pod, PLAIN, namespace, annotations)
    assert [
        sum(text in message for message in messages)
        for text in (rules.OPTED_OUT, rules.NOT_CHANGED)
    ] == [2, 6]


@pytest.mark.parametrize("level", ["bound", "strict"])
def test_two_judges_say_the_same_of_every_fixture(away: Cluster, settings: Any, level: str) -> None:
    annotations = {"enforce": level, "allowed-audiences": "https://vault.example.com"}
    namespace = quiet(away, enforce=level, allowed_audiences=annotations["allowed-audiences"])
    wait_for(
        lambda: (
            away.denial(namespace, VIOLATING) == expected(VIOLATING, PLAIN, namespace, annotations)
        ),
        15,
    )
    seen = 0
    for path in sorted(HERE.glob(f"v*/{level}/*/*.yaml")):
        pod: Json = yaml.safe_load(path.read_text())
        if "legacy-token" in path.name or "config.mirror" in path.read_text():
            continue  # which Secrets are legacy CEL cannot know; a mirror pod with a token is refused before any policy
        newcomers = pod["spec"].pop("ephemeralContainers", None)
        pod["metadata"]["name"] = f"pod-{seen}"
        seen += 1
        if newcomers is None:
            assert away.denial(namespace, pod) == expected(pod, PLAIN, namespace, annotations), path
            continue
        pods = f"{NAMESPACES}/{namespace}/pods"
        made = away.plane.call("POST", pods, pod)
        body = {**made, "spec": {**made["spec"], "ephemeralContainers": newcomers}}
        message = ""
        try:
            away.plane.call("PUT", f"{pods}/{made['metadata']['name']}/ephemeralcontainers", body)
        except StatusError as problem:
            message = denied_by(problem)
        request = a_review(
            body,
            namespace=namespace,
            operation="UPDATE",
            subResource="ephemeralcontainers",
            oldObject=made,
        )
        given = {names.DOMAIN + name: value for name, value in annotations.items()}
        decoded = review.decode_full(msgspec.json.encode(request))
        assert (
            message == validation_of(decoded, PLAIN, policy.resolve_namespace(PLAIN, given)).denial
        ), path
    assert seen > 10


@pytest.mark.parametrize(("lock", "set_here", "own", "floor", "floor_maximum", "maximum"), MAXIMA)
def test_the_policy_holds_each_cell_of_the_table_of_maxima(  # noqa: PLR0917  (the columns of the table)
    away: Cluster,
    settings: Any,
    lock: int | None,
    set_here: str | None,
    own: str,
    floor: Any,
    floor_maximum: Any,
    maximum: int,
) -> None:
    layer = ClusterPolicy(
        locks=Locks() if lock is None else Locks(max_expiration_seconds=lock),
        api_audiences=(API,),
        enforce_floor=floor,
        enforce_floor_max_expiration_seconds=floor_maximum,
    )
    settings(layer)
    annotations = {"enforce": own} | (
        {} if set_here is None else {"max-expiration-seconds": set_here}
    )
    namespace = quiet(away, **{key.replace("-", "_"): text for key, text in annotations.items()})
    for seconds in (maximum, maximum + 1):
        if seconds <= 1 << 32:
            pod = with_tokens({"expirationSeconds": seconds})
            denial = expected(pod, layer, namespace, annotations)
            assert bool(denial) is (seconds > maximum)
            wait_for(lambda pod=pod, denial=denial: away.denial(namespace, pod) == denial, 5)


def test_without_any_replica_who_violates_is_refused_who_complies_is_created_and_others_are_left_alone(
    away: Cluster, settings: Any
) -> None:
    enforced, other = away.namespace(enforce="strict"), away.namespace()
    wait_for(lambda: away.denial(enforced, VIOLATING), 15)
    assert "[automounted-volume]" in away.denial(enforced, a_bare_pod())
    assert away.denial(enforced, COMPLIANT, query="") == ""
    assert away.denial(other, a_bare_pod()) == away.denial(other, VIOLATING) == ""
    spared = away.namespace()
    excluded = names.NEVER_TOUCHED | {spared}
    settings(ClusterPolicy(api_audiences=(API,), enforce_floor="bound", excluded=excluded))
    wait_for(lambda: away.denial(other, a_bare_pod()), 5)
    assert away.denial(other, COMPLIANT) == ""
    assert away.denial("kube-system", VIOLATING) == ""
    assert away.denial(spared, VIOLATING) == ""


@pytest.mark.parametrize("annotations", ["deleted", "emptied", "garbled"])
def test_bad_settings_are_safe(away: Cluster, settings: Any, annotations: str) -> None:
    """No error, no exemption, no pod of an unannotated namespace refused where nothing is known;
    what is bad is strict.
    """
    enforced, other = away.namespace(enforce="bound"), away.namespace()
    wait_for(lambda: away.denial(enforced, VIOLATING), 15)
    full = bindings.annotations(ClusterPolicy(api_audiences=(API,)))
    full |= {
        names.MAX_EXPIRATION_SECONDS: "x",
        names.ALLOWED_AUDIENCES: "x",
        names.ENFORCE_FLOOR_MAX_EXPIRATION_SECONDS: "x",
    }
    bad = {
        "deleted": {},
        "emptied": dict.fromkeys(full, ""),
        "garbled": dict.fromkeys(full, "\x00\u2028 1e9 '}])\" ٣٦٠٠ " + "9" * 1000),
    }[annotations]
    settings(bad)
    wait_for(lambda: bool(away.denial(other, VIOLATING)) is bool(bad), 5)
    assert "[token-lifetime]" in away.denial(enforced, VIOLATING)
    assert away.denial(enforced, COMPLIANT) == away.denial(other, COMPLIANT) == ""
    message = away.denial(other, a_bare_pod())
    assert (
        message == ""
        if not bad
        else message.startswith(
            f'namespace "{other}" is under the cluster\'s enforceFloor "strict": ['
        )
    )


def test_no_annotation_of_a_namespace_makes_an_expression_fail(
    away: Cluster, settings: Any
) -> None:
    hostile = [
        "",
        "1h",
        "9" * 20,
        "9" * 2000,
        "-1",
        "0x10",
        "1e9",
        "\x00",
        "'",
        "\\",
        "٣",
        " ",
        ",",
        "\u2028",
        "a" * 200_000,
        "," * 200_000,
    ]
    namespace = quiet(away, enforce="bound")
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    both = (COMPLIANT, with_tokens(YEAR, {"expirationSeconds": 1 << 32, "audience": "a"}))
    for name in ("max-expiration-seconds", "allowed-audiences", "enforce-version", "enforce"):
        for text in hostile:
            annotations = {"enforce": "bound", name: text}
            body = {
                "metadata": {
                    "annotations": {names.DOMAIN + key: value for key, value in annotations.items()}
                }
            }
            away.plane.call("PATCH", f"{NAMESPACES}/{namespace}", body, kind=MERGE_PATCH)
            for pod in both:
                denial = expected(pod, PLAIN, namespace, annotations)
                wait_for(lambda pod=pod, denial=denial: away.denial(namespace, pod) == denial, 5)
        nothing = {"metadata": {"annotations": {names.DOMAIN + name: None}}}
        away.plane.call("PATCH", f"{NAMESPACES}/{namespace}", nothing, kind=MERGE_PATCH)


def big(volumes: int, containers: int, mounts: int, *, tokens: int) -> Json:
    """A compliant pod of a size: plain volumes, all of which are mounted, and volumes with a
    token.
    """
    volume_list: list[Json] = [{"name": f"v{number}", "emptyDir": {}} for number in range(volumes)]
    volume_list += [
        {
            "name": f"t{number}",
            "projected": {
                "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]
            },
        }
        for number in range(tokens)
    ]
    mounted = [
        {"name": f"v{number % volumes}", "mountPath": f"/{number}"} for number in range(mounts)
    ]
    several = [
        {**a_container(f"c{number}"), "volumeMounts": mounted} for number in range(containers)
    ]
    return {
        "metadata": {"name": "big"},
        "spec": {
            "containers": several,
            "volumes": volume_list,
            "automountServiceAccountToken": False,
        },
    }


def test_a_pod_past_the_cost_budget_is_refused_and_large_ones_are_not(
    away: Cluster, settings: Any
) -> None:
    namespace = away.namespace(enforce="strict")
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    assert away.denial(namespace, big(300, 30, 100, tokens=300)) == ""
    assert away.denial(namespace, big(1000, 50, 100, tokens=100)) == ""
    with pytest.raises(StatusError, match="actual cost limit exceeded"):
        away.denial(namespace, big(1000, 50, 400, tokens=100))


def test_a_message_stays_below_the_limit_of_the_api_server_and_keeps_what_matters(
    away: Cluster, settings: Any
) -> None:
    namespace = away.namespace(
        enforce="strict", allowed_audiences=",".join(f"{number}" * 190 for number in range(9))
    )
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    volumes = [
        {"name": f"kube-api-access-{number}{'x' * 40}", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": seconds, "audience": "é\n" * 50 if number % 2 else "y" * 199}},
            {"serviceAccountToken": {"path": "other", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt"}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]}}
        for number, seconds in enumerate([90000] * 30)
    ]  # fmt: skip
    mounts = [
        {"name": volume["name"], "mountPath": f"/{number}", "subPath": "x"}
        for number, volume in enumerate(volumes)
    ]
    pod = a_bare_pod({**a_container(), "volumeMounts": mounts}, volumes=volumes)
    message = away.denial(namespace, pod)
    assert len(message.encode()) < 5 * 1024
    for slug in ("token-lifetime", "token-audience", "automounted-volume", "token-mount"):
        assert f"[{slug}]" in message


def test_kubectl_debug_works_on_an_older_pod_and_brings_no_token_in(
    away: Cluster, settings: Any
) -> None:
    namespace = away.namespace()
    pod, _ = away.create(namespace, a_bare_pod())
    volume = pod["spec"]["volumes"][0]["name"]
    away.annotate(namespace, enforce="strict")
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    for name in ("first", "second"):
        away.plane.kubectl(
            "debug",
            "web",
            "-n",
            namespace,
            "--image=registry.example/tool:1",
            f"--container={name}",
        )
    path = f"{NAMESPACES}/{namespace}/pods/web"
    debugged = away.plane.call("GET", path)
    assert [container["name"] for container in debugged["spec"]["ephemeralContainers"]] == [
        "first",
        "second",
    ]
    debugged["spec"]["ephemeralContainers"].append(a_container("third", (volume, "/t")))
    with pytest.raises(StatusError) as refused:
        away.plane.call("PUT", f"{path}/ephemeralcontainers", debugged)
    assert "[token-lifetime]" in denied_by(refused.value)
    away.plane.call("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, kind=MERGE_PATCH)


def test_a_deployments_event_names_the_rule_and_the_namespace(away: Cluster, settings: Any) -> None:
    namespace = away.namespace(enforce="bound")
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    away.plane.kubectl(
        "create", "deployment", "web", "--image=registry.example/app:1", "-n", namespace
    )

    def told() -> list[str]:
        events = away.plane.call("GET", f"{NAMESPACES}/{namespace}/events")["items"]
        return [event["message"] for event in events if "[token-lifetime]" in event["message"]]

    assert f'namespace "{namespace}" enforces "bound:v1"' in wait_for(told, 20)[0]


def test_pod_security_beside_us_refuses_what_it_must_and_lets_our_pods_in(
    away: Cluster, settings: Any
) -> None:
    namespace = away.namespace(
        labels={"pod-security.kubernetes.io/enforce": "restricted"}, enforce="strict"
    )
    wait_for(
        lambda: (
            "PodSecurity"
            in str(caught(away, namespace, a_bare_pod(automountServiceAccountToken=False)))
        ),
        15,
    )
    context = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    mounted = {**a_container("app", ("t", "/t")), "securityContext": context}
    good = with_tokens({"expirationSeconds": 3600}, containers=[mounted])
    assert away.denial(namespace, good) == ""
    assert "[token-lifetime]" in away.denial(namespace, with_tokens(YEAR, containers=[mounted]))


def caught(cluster: Cluster, namespace: str, pod: Json) -> Exception | None:
    return caught_creating(cluster.plane, f"{NAMESPACES}/{namespace}/pods", pod)


def test_mirror_pods_of_a_node_are_created_under_strict_and_the_floor(
    away: Cluster, settings: Any
) -> None:
    namespace = away.namespace(enforce="strict")
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    settings(ClusterPolicy(api_audiences=(API,), enforce_floor="strict"))
    node = away.plane.call("GET", "/api/v1/nodes/node-1")["metadata"]
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": "node-1",
        "uid": node["uid"],
        "controller": True,
    }
    pod = {
        "metadata": {
            "name": "static",
            "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": "node-1", "hostNetwork": True, "containers": [a_container()]},
    }
    assert away.denial(namespace, pod, user="node") == ""


def test_exempt_users_accounts_classes_and_namespaces_are_exempt_while_we_are_away(
    away: Cluster, settings: Any
) -> None:
    namespace, spared = away.namespace(enforce="strict"), away.namespace(enforce="strict")
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    plane = away.plane
    plane.kubectl("create", "serviceaccount", "spared", "-n", namespace)
    for where in (namespace, spared):
        plane.kubectl(
            "create", "rolebinding", "edit", "--clusterrole=edit", "--user=editor", "-n", where
        )
    exemptions = Exemptions(
        namespaces=frozenset({spared}),
        usernames=frozenset({"somebody", "editor"}),
        service_accounts=frozenset({f"{namespace}/spared"}),
        runtime_classes=frozenset({"kata"}),
    )
    settings(ClusterPolicy(api_audiences=(API,), exemptions=exemptions))
    account = {**VIOLATING, "spec": {**VIOLATING["spec"], "serviceAccountName": "spared"}}
    wait_for(lambda: away.denial(spared, VIOLATING) == "", 5)
    assert away.denial(namespace, VIOLATING, user="editor") == away.denial(namespace, account) == ""
    assert away.denial(namespace, VIOLATING)


def source(**token: Any) -> Json:
    return {"serviceAccountToken": {"path": "token", **token}}


def projected(*sources: Json, name: str = "t") -> Json:
    return {"name": name, "projected": {"sources": list(sources)}}


def mounting(**mount: Any) -> Json:
    return {**a_container(), "volumeMounts": [{"name": "t", "mountPath": "/t", **mount}]}


OF_THE_ATTACK: list[tuple[str, Json]] = [
    ("expirationSeconds absent", {"volumes": [projected(source())]}),
    (
        "3607 with the explicit API audience",
        {"volumes": [projected(source(expirationSeconds=3607, audience=API))]},
    ),
    (
        "3607 foreign",
        {"volumes": [projected(source(expirationSeconds=3607, audience="elsewhere"))]},
    ),
    ("3601", {"volumes": [projected(source(expirationSeconds=3601))]}),
    (
        "two sources at one path",
        {"volumes": [projected(source(expirationSeconds=600), source(expirationSeconds=3607))]},
    ),
    ("sources null", {"volumes": [{"name": "t", "projected": {"sources": None}}]}),
    ("nobody mounts", {"volumes": [projected(source(expirationSeconds=3607))]}),
    (
        "subPathExpr",
        {
            "volumes": [projected(source())],
            "containers": [mounting(readOnly=True, subPathExpr="$(A)")],
        },
    ),
    (
        "subPath",
        {
            "volumes": [projected(source())],
            "containers": [mounting(readOnly=True, subPath="token")],
        },
    ),
    ("writable", {"volumes": [projected(source())], "containers": [mounting()]}),
    ("read-only", {"volumes": [projected(source())], "containers": [mounting(readOnly=True)]}),
    (
        "sidecar",
        {
            "volumes": [projected(source())],
            "initContainers": [{**mounting(), "name": "side", "restartPolicy": "Always"}],
        },
    ),
    ("nodeName", {"volumes": [projected(source(expirationSeconds=3607))], "nodeName": "node-1"}),
    (
        "Windows",
        {"volumes": [projected(source(expirationSeconds=3607))], "os": {"name": "windows"}},
    ),
    ("hostUsers", {"volumes": [projected(source(expirationSeconds=3607))], "hostUsers": False}),
    ("hostNetwork", {"volumes": [projected(source(expirationSeconds=3607))], "hostNetwork": True}),
    ("foreign boundtoken volume", {"volumes": [{"name": "boundtoken", "emptyDir": {}}]}),
    (
        "a legacy Secret, which CEL cannot know",
        {"volumes": [{"name": "s", "secret": {"secretName": "old"}}]},
    ),
]


@pytest.mark.parametrize("level", ["bound", "strict"])
def test_two_judges_say_the_same_of_the_pods_of_the_attack(
    away: Cluster, settings: Any, level: str
) -> None:
    namespace = quiet(away, enforce=level)
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    for case, spec in OF_THE_ATTACK:
        pod = a_bare_pod(
            annotations={names.ENFORCE: "off", names.MAX_EXPIRATION_SECONDS: "4294967296"}, **spec
        )
        if "containers" in spec:
            pod["spec"]["containers"][0]["env"] = [{"name": "A", "value": "token"}]
        assert away.denial(namespace, pod) == expected(pod, PLAIN, namespace, {"enforce": level}), (
            case
        )


def test_the_findings_of_the_attack_are_closed_while_we_are_away(
    away: Cluster, settings: Any
) -> None:
    settings(ClusterPolicy(api_audiences=(API,), enforce_floor="bound"))
    for maximum in (
        "31536000",
        "4294967295",
    ):  # 1: the floor was lowered by the namespace's own maximum
        namespace = away.namespace(max_expiration_seconds=maximum)
        wait_for(lambda namespace=namespace: away.denial(namespace, a_bare_pod()), 15)
        assert away.denial(namespace, with_tokens({"expirationSeconds": (1 << 32) - 1}))
    floor = quiet(away)
    fat = with_tokens(YEAR)
    fat["spec"]["containers"][0]["env"] = [
        {"name": f"E{number}", "value": "<" * 120_000} for number in range(11)
    ]
    wait_for(lambda: away.denial(floor, fat), 15)  # 2: a pod of 1.3 MB was never judged
    many = [{"expirationSeconds": 3600, "audience": "x"}] * 5_000
    assert away.denial(floor, with_tokens(*many)) == ""
    assert "[token-lifetime]" in away.denial(
        floor, with_tokens(*many, YEAR)
    )  # 4: one pod outlasted its own judgement
    assert "actual cost limit exceeded" in str(
        caught(away, floor, with_tokens(*many, *many, *many[:2000]))
    )
    short = with_tokens(YEAR, containers=[a_container(f"c{number}") for number in range(4000)])
    short["metadata"]["annotations"] = {
        names.INJECT: "enabled",
        names.SKIP_CONTAINERS: ",".join(map(str, range(50_000)))[:250_000],
    }
    assert "[token-lifetime]" in away.denial(
        floor, short
    )  # 3: 390 KB under dry run stopped every replica
    late = away.namespace()
    away.annotate(
        late, enforce="strict"
    )  # 6: annotated while we are away, it got no label and was not enforced
    wait_for(lambda: 'enforces "strict:v1"' in away.denial(late, a_bare_pod()), 15)
    settings(ClusterPolicy(api_audiences=(API,), locks=Locks(max_expiration_seconds=604800)))
    strict = away.namespace(enforce="strict")  # 11: a lock loosened strict
    wait_for(lambda: away.denial(strict, with_tokens({"expirationSeconds": 604800})), 15)
    excluded = away.namespace(
        enforce="strict"
    )  # 16: excluded, a labelled namespace went on refusing
    settings(ClusterPolicy(api_audiences=(API,), excluded=names.NEVER_TOUCHED | {excluded}))
    wait_for(lambda: away.denial(excluded, a_bare_pod()) == "", 15)


def test_token_requests_and_legacy_secrets_are_denied_while_we_are_away_and_nodes_get_theirs(
    away: Cluster, settings: Any
) -> None:
    plane = away.plane
    namespace = away.namespace(allowed_audiences="vault")
    plane.kubectl(
        "create", "rolebinding", "edit", "--clusterrole=edit", "--user=editor", "-n", namespace
    )
    settings(
        ClusterPolicy(api_audiences=(API,), token_requests="enforce", legacy_secrets="enforce")
    )

    def ask(namespace: str, *arguments: str, user: str = "editor") -> str:
        return plane.kubectl(
            "create", "token", "default", "-n", namespace, *arguments, user=user
        ).strip()

    with pytest.raises(KubectlError) as refused:
        wait_for(lambda: not ask(namespace, "--duration=8760h", "--audience=evil"), 10)
    assert (
        f'token of service account "default" in namespace "{namespace}": [token-lifetime] 31536000 s are asked for, and at most '
        "86400 s are allowed; use --duration=86400s or less. "
        '[token-audience] audience "evil" is not allowed; leave --audience out, or use one of "vault"'
    ) in str(refused.value)
    assert life(ask(namespace, "--duration=86400s", "--audience=vault")) == 86400
    with pytest.raises(
        KubectlError, match="at most 86400 s are allowed"
    ):  # the strongest accounts are not left out
        ask("kube-system", "--duration=8760h", user="admin")
    with pytest.raises(
        KubectlError, match="at most 86400 s are allowed"
    ):  # 13: a group alone makes no node
        ask(
            namespace,
            "--duration=8760h",
            "--as=eve",
            "--as-group=system:nodes",
            "--as-group=system:masters",
            user="admin",
        )
    for kind, ours in (
        ("MutatingWebhookConfiguration", False),
        ("Secret", True),
    ):  # what is bound to a webhook is not for us
        bound = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "name": "boundtoken",
        }
        spec = {"expirationSeconds": 1 << 32, "boundObjectRef": bound, "audiences": None}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        with pytest.raises(StatusError) as refused_by:
            plane.call("POST", f"{NAMESPACES}/{namespace}/serviceaccounts/default/token", body)
        assert ("ValidatingAdmissionPolicy" in str(refused_by.value)) is ours
    pod = away.run(away.namespace(), with_tokens({"expirationSeconds": 1 << 32}))
    assert life(away.tokens(pod)["t/t0"]) == 1 << 32
    with pytest.raises(StatusError) as denied:
        plane.call("POST", f"{NAMESPACES}/{namespace}/secrets", legacy_secret("old"))
    assert "use kubectl create token" in denied_by(denied.value, names.LEGACY_SECRET_POLICY)
    plane.call("POST", f"{NAMESPACES}/{namespace}/secrets", {"metadata": {"name": "fine"}})


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"metadata": {"annotations": {"kubernetes.io/service-account.name": "other"}}}, True),
        ({"metadata": {"annotations": {"kubernetes.io/service-account.uid": None}}}, True),
        ({"data": None}, True),
        ({"data": {"token": None}}, True),
        ({"metadata": {"labels": {"team": "shop"}, "annotations": {"note": "old"}}}, False),
    ],
)
def test_an_old_legacy_secret_is_no_way_to_a_new_token(
    away: Cluster, settings: Any, change: Json, refused: bool
) -> None:
    plane = away.plane
    namespace = away.namespace()
    plane.kubectl("create", "serviceaccount", "other", "-n", namespace)
    path = f"{NAMESPACES}/{namespace}/secrets"
    plane.call("POST", path, legacy_secret("old"))
    filled = wait_for(lambda: plane.call("GET", f"{path}/old").get("data", {}).get("token"))
    settings(ClusterPolicy(api_audiences=(API,), legacy_secrets="enforce"))
    wait_for(lambda: caught_creating(plane, path, legacy_secret("new")) is not None)
    message = None
    try:
        plane.call("PATCH", f"{path}/old", change, kind=MERGE_PATCH)
    except StatusError as problem:
        message = denied_by(problem, names.LEGACY_SECRET_POLICY)
    assert (message is not None) is refused
    assert plane.call("GET", f"{path}/old")["data"]["token"] == filled
    plane.call("DELETE", f"{path}/old")


def legacy_secret(name: str) -> Json:
    metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": "default"}}
    return {"metadata": metadata, "type": "kubernetes.io/service-account-token"}


def caught_creating(plane: ControlPlane, path: str, body: Json) -> Exception | None:
    try:
        plane.call("POST", f"{path}?dryRun=All", body)
    except StatusError as problem:
        return problem
    return None


def test_token_requests_are_held_to_the_lock_and_exempt_by_who_asks(
    away: Cluster, settings: Any
) -> None:
    plane = away.plane
    namespace = away.namespace()
    plane.kubectl(
        "create", "rolebinding", "edit", "--clusterrole=edit", "--user=editor", "-n", namespace
    )

    def ask(*arguments: str, user: str = "admin") -> str:
        return plane.kubectl(
            "create", "token", "default", "-n", namespace, "--duration=9000s", *arguments, user=user
        ).strip()

    lock = Locks(max_expiration_seconds=7200)
    settings(ClusterPolicy(api_audiences=(API,), token_requests="enforce", locks=lock))
    with pytest.raises(KubectlError, match="at most 7200 s are allowed"):
        wait_for(lambda: not ask(user="editor"), 10)
    with pytest.raises(KubectlError, match="at most 7200 s are allowed"):
        ask("--as=system:serviceaccount:ci:deployer", "--as-group=system:masters")
    for system in (
        "system:kube-controller-manager",
        "system:cloud-controller-manager",
        "system:serviceaccount:kube-system:x",
    ):
        assert ask(f"--as={system}", "--as-group=system:masters")
    exemptions = Exemptions(
        usernames=frozenset({"editor", "trainee"}),
        service_accounts=frozenset({"ci/deployer", f"{namespace}/default"}),
    )
    settings(
        ClusterPolicy(
            api_audiences=(API,), token_requests="enforce", locks=lock, exemptions=exemptions
        )
    )
    wait_for(lambda: caught_asking(ask, user="editor") is None, 5)
    assert ask("--as=system:serviceaccount:ci:deployer", "--as-group=system:masters")
    with pytest.raises(
        KubectlError, match="at most 7200 s are allowed"
    ):  # two exempt names are not one with a blank
        ask("--as=editor trainee", "--as-group=system:masters")
    with pytest.raises(
        KubectlError, match="at most 7200 s are allowed"
    ):  # the account that is asked for exempts nobody
        ask("--as=somebody", "--as-group=system:masters")


def caught_asking(ask: Any, **options: str) -> Exception | None:
    try:
        ask(**options)
    except KubectlError as problem:
        return problem
    return None


def test_the_emergency_command_takes_the_policies_away_and_export_brings_them_back(
    away: Cluster, settings: Any, tmp_path: Path
) -> None:
    namespace = away.namespace(enforce="strict")
    wait_for(lambda: away.denial(namespace, VIOLATING), 15)
    page = (ROOT / "docs/emergency.md").read_text()
    first = re.findall(r"^kubectl delete (.*)$", page, re.MULTILINE)[0].split()
    bindings_of_it = [one for one in first if one.startswith("validatingadmissionpolicybindings/")]
    assert len(bindings_of_it) == 3
    away.plane.kubectl("delete", *bindings_of_it)
    wait_for(lambda: away.denial(namespace, VIOLATING) == "", 10)
    plain, excluded = away.namespace(), away.namespace(enforce="strict")
    file = tmp_path / "config.yaml"
    file.write_text(
        "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\nlocks: {enforceFloor: bound}\n"
        f"namespaces: {{excluded: [{excluded}]}}\napiAudiences: [{API}]\n"
    )
    exported = boundtoken("export", "policies", "--validating", "--config", str(file))
    away.plane.kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=exported.stdout
    )  # no replica is there to write the settings
    wait_for(lambda: away.denial(namespace, VIOLATING) and away.denial(plain, VIOLATING), 10)
    assert away.denial(excluded, VIOLATING) == ""
