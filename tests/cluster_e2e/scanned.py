"""A cluster of namespaces in every state that a scan tells, and the tokens that the node is given
in it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tests.controlplane.cluster import ControlPlane, StatusError
from tests.controlplane.volumes import node_token
from tests.support.builders import Json, a_bare_pod, a_container
from tests.support.cluster import NAMESPACES, Cluster
from tests.support.waiting import wait_for
from webhook.core import names

ISSUER = "https://kubernetes.default.svc.cluster.local"
WORKERS = 4
ON = {"inject": "enabled", "automount": "disabled"}
DRIVER = "secrets.example.com"
LEGACY = "old-token"


class State(NamedTuple):
    """How a namespace and its pod are made: its annotations when the pod is made, those that it has
    later, and what the pod has.
    """

    before: dict[str, str]
    after: dict[str, str]
    pod: Json


def own(seconds: int | None = None, audience: str | None = None, **mount: Any) -> Json:
    """A pod with a projected token of its author."""
    source: Json = {"path": "own"}
    source |= {"expirationSeconds": seconds} if seconds is not None else {}
    source |= {"audience": audience} if audience is not None else {}
    container = a_container("app")
    container["volumeMounts"] = [{"name": "own", "mountPath": "/own", "readOnly": True, **mount}]
    volume = {"name": "own", "projected": {"sources": [{"serviceAccountToken": source}]}}
    return a_bare_pod(container, volumes=[volume])


def with_legacy(*, in_environment: bool) -> Json:
    """A pod that has the token of a Secret, in a volume or in its environment."""
    if in_environment:
        key = {"secretKeyRef": {"name": LEGACY, "key": "token"}}
        return a_bare_pod(a_container("app", env=[{"name": "TOKEN", "valueFrom": key}]))
    volume = {"name": "old", "secret": {"secretName": LEGACY}}
    return a_bare_pod(a_container("app", ("old", "/old")), volumes=[volume])


def with_driver() -> Json:
    volume = {"name": "vault", "csi": {"driver": DRIVER, "readOnly": True}}
    return a_bare_pod(a_container("app", ("vault", "/vault")), volumes=[volume])


def states() -> list[State]:
    """One after the other; a cluster has each of them several times."""
    plain = a_bare_pod()
    rewritten = {"inject": "enabled", "automount": "enabled"}
    made = [
        State({}, {}, plain),
        State(ON, ON, plain),
        State(rewritten, rewritten, plain),
        State({"inject": "replace", "automount": "disabled"}, {}, plain),
        State({"automount": "disabled"}, {"automount": "disabled"}, plain),
        State({}, ON, plain),
        State(ON, {**ON, "expiration-seconds": "1200"}, plain),
        State(ON, {**ON, "audience": "vault"}, plain),
        State({**ON, "tokens": "vault=vault;900,aws=aws"}, {**ON, "enforce": "strict"}, plain),
        State({}, {"enforce": "bound"}, plain),
        State({}, {}, a_bare_pod(automountServiceAccountToken=False)),
        State(ON, ON, a_bare_pod(annotations={names.INJECT: "disabled"})),
        State({}, {}, with_legacy(in_environment=False)),
        State(ON, ON, with_legacy(in_environment=True)),
        State({}, {}, with_driver()),
        State(ON, ON, own(3600, "vault", readOnly=False)),
        State(ON, ON, own(3600, subPath="own")),
        State({}, {}, own()),
    ]
    own_tokens = [
        own(seconds, audience)
        for seconds in (600, 3607, 86400, 31_536_000)
        for audience in (None, ISSUER, "vault")
    ]
    return [*made, *(State({}, {}, pod) for pod in own_tokens)]


class Made(NamedTuple):
    """A namespace of the cluster, its state, and its pod as the API server has it."""

    namespace: str
    state: State
    pod: Json


def make(cluster: Cluster, count: int) -> list[Made]:
    """So many namespaces, each with one pod on the node."""
    of_driver: Json = {
        "metadata": {"name": DRIVER},
        "spec": {"volumeLifecycleModes": ["Ephemeral"]},
    }
    of_driver["spec"] |= {
        "tokenRequests": [{"audience": "vault", "expirationSeconds": 900}, {"audience": "aws"}]
    }
    cluster.plane.call("POST", "/apis/storage.k8s.io/v1/csidrivers", of_driver)
    known = states()
    chosen = [known[number % len(known)] for number in range(count)]
    with ThreadPoolExecutor(WORKERS) as pool:
        spaces = list(pool.map(lambda state: _space(cluster, state), chosen))
        accounts = "/api/v1/serviceaccounts?fieldSelector=metadata.name=default"
        wait_for(
            lambda: (
                set(spaces)
                <= {
                    one["metadata"]["namespace"]
                    for one in cluster.plane.call("GET", accounts)["items"]
                }
            ),
            60,
        )
        pods = list(pool.map(lambda pair: _pod(cluster, *pair), zip(spaces, chosen, strict=True)))
        list(pool.map(lambda pair: _later(cluster, *pair), zip(spaces, chosen, strict=True)))
    return [Made(*row) for row in zip(spaces, chosen, pods, strict=True)]


def _space(cluster: Cluster, state: State) -> str:
    given = {name.replace("-", "_"): value for name, value in state.before.items()}
    return cluster.namespace(wait=False, labels={"scanned": "yes"}, **given)


def _pod(cluster: Cluster, namespace: str, state: State) -> Json:
    path = f"{NAMESPACES}/{namespace}/secrets"
    if LEGACY in str(state.pod):
        annotations = {"kubernetes.io/service-account.name": "default"}
        metadata = {"name": LEGACY, "annotations": annotations}
        cluster.plane.call("POST", path, {"metadata": metadata, "type": names.LEGACY_TOKEN_TYPE})
    return cluster.run(namespace, state.pod)


def _later(cluster: Cluster, namespace: str, state: State) -> None:
    gone = {name: None for name in state.before if name not in state.after}
    if state.before != state.after:
        changed = {**state.after, **gone}
        given = {name.replace("-", "_"): value for name, value in changed.items()}
        cluster.annotate(namespace, **given)


def given_to_node(plane: ControlPlane, pod: Json) -> Iterator[tuple[str, str, str]]:
    """Every token that the node is given for a pod: its volume, its file (none of a driver), and
    itself.
    """
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if (projection := source.get("serviceAccountToken")) is not None:
                yield volume["name"], projection["path"], node_token(plane, pod, projection)
        if "csi" in volume:
            driver = plane.call(
                "GET", f"/apis/storage.k8s.io/v1/csidrivers/{volume['csi']['driver']}"
            )
            for requested in driver["spec"].get("tokenRequests") or ():
                yield volume["name"], "", node_token(plane, pod, requested)


def refused(cluster: Cluster, path: str, user: str) -> bool:
    """Whether somebody may not read a path."""
    try:
        cluster.plane.call("GET", path, user=user)
    except StatusError as problem:
        return problem.code == 403
    return False
