"""Builders: the smallest legal objects, tweaked; a test shows only what matters to it. And an
applier that is not ours.
"""

import base64
import copy
import hashlib
import json
import posixpath
from typing import Any

import jsonpatch
import msgspec

from webhook.core import names, policy, review
from webhook.core.decision import Decision
from webhook.core.policy import ClusterPolicy, NamespacePolicy
from webhook.core.review import Request, ValidationRequest
from webhook.enforcement import validate
from webhook.mutation import mutate

Json = dict[str, Any]
AUTOMOUNTED = names.AUTOMOUNTED_PREFIX + "x7k2p"


def a_container(name: str = "app", *mounts: tuple[str, str], **fields: Any) -> Json:
    """A container with these mounts: pairs of volume and path."""
    container: Json = {"name": name, "image": "registry.example/app:1"}
    if mounts:
        container["volumeMounts"] = [
            {"name": volume, "mountPath": path, "readOnly": True} for volume, path in mounts
        ]
    return {**container, **fields}


def a_pod(
    *containers: Json,
    annotations: dict[str, str] | None = None,
    volumes: list[Json] | None = None,
    **spec: Any,
) -> Json:
    """A pod that arrives without an automounted volume."""
    metadata: Json = {"name": "web", "namespace": "shop"}
    if annotations is not None:
        metadata["annotations"] = annotations
    made: Json = {"containers": list(containers) or [a_container()], **spec}
    if volumes is not None:
        made["volumes"] = volumes
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made}


def api_access(
    name: str = AUTOMOUNTED,
    *,
    seconds: int | None = 3607,
    audience: str | None = None,
    more: tuple[Json, ...] = (),
) -> Json:
    """A volume as the ServiceAccount plugin makes it."""
    token: Json = {"path": "token"}
    if seconds is not None:
        token["expirationSeconds"] = seconds
    if audience is not None:
        token["audience"] = audience
    sources: list[Json] = [
        {"serviceAccountToken": token},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "namespace",
                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                    }
                ]
            }
        },
        *more,
    ]
    return {"name": name, "projected": {"defaultMode": 420, "sources": sources}}


def automounted(pod: Json, name: str = AUTOMOUNTED) -> Json:
    """The pod after the ServiceAccount plugin: what it does with automount on, by its own rules
    (exact paths).
    """
    pod = copy.deepcopy(pod)
    spec = pod["spec"]
    if spec.get("automountServiceAccountToken") is False:
        return pod
    volumes = spec.get("volumes") or []
    there = next(
        (
            volume["name"]
            for volume in volumes
            if volume["name"].startswith(names.AUTOMOUNTED_PREFIX)
        ),
        None,
    )
    needed = False
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        mounts = container.get("volumeMounts") or []
        if not any(mount["mountPath"] == names.DEFAULT_PATH for mount in mounts):
            container["volumeMounts"] = [
                *mounts,
                {"name": there or name, "readOnly": True, "mountPath": names.DEFAULT_PATH},
            ]
            needed = True
    if needed and there is None:
        spec["volumes"] = [*volumes, api_access(name)]
    return pod


def a_review(
    object_: Json | None,
    *,
    kind: str = "Pod",
    group: str = "",
    operation: str = "CREATE",
    **request: Any,
) -> Json:
    """An AdmissionReview v1 as the API server sends it."""
    resource = {"Pod": "pods"}.get(kind, kind.lower() + "s")
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": resource},
            "namespace": "shop",
            "operation": operation,
            "userInfo": {"username": "alice"},
            "object": object_,
            "oldObject": None,
            "dryRun": False,
            "options": None,
            **request,
        },
    }


def a_request(object_: Json | None, **request: Any) -> Request:
    return review.decode(msgspec.json.encode(a_review(object_, **request)))


def a_namespace_policy(
    cluster: ClusterPolicy | None = None, /, **annotations: str
) -> NamespacePolicy:
    """What these annotations of our domain say: short names, with `_` for `-`."""
    given = {names.DOMAIN + name.replace("_", "-"): value for name, value in annotations.items()}
    return policy.resolve_namespace(cluster or ClusterPolicy(), given)


def mutation_of(request: Request, cluster: ClusterPolicy, namespace: NamespacePolicy) -> Decision:
    """The decision of the mutating webhook."""
    reason = mutate.skip_reason(request, cluster)
    return mutate.decide(request, cluster, namespace) if reason is None else Decision(reason)


def validation_of(
    request: ValidationRequest,
    cluster: ClusterPolicy,
    namespace: NamespacePolicy,
    legacy_tokens: frozenset[str] | None = None,
) -> Decision:
    """The decision of the validating webhook."""
    reason = validate.skip_reason(request, cluster)
    if reason is not None:
        return Decision(reason)
    return validate.decide(request, cluster, namespace, legacy_tokens)


def response_to(decision: Decision) -> Json:
    """The response that carries a decision."""
    answer: Json = json.loads(review.respond("1", decision))["response"]
    return answer


def mutating_decision(
    pod: Json, cluster: ClusterPolicy | None = None, /, **annotations: str
) -> Decision:
    """The decision of the mutating webhook on creating this pod in a namespace with these
    annotations.
    """
    cluster = cluster or ClusterPolicy()
    return mutation_of(a_request(pod), cluster, a_namespace_policy(cluster, **annotations))


def validating_decision(
    object_: Json,
    cluster: ClusterPolicy | None = None,
    /,
    *,
    request: Json | None = None,
    **annotations: str,
) -> Decision:
    """The decision of the validating webhook on creating this object in a namespace with these
    annotations, where the API server's audience is `api`; `request` are other fields of the review.
    """
    cluster = cluster or ClusterPolicy(api_audiences=("api",))
    decoded = review.decode_full(msgspec.json.encode(a_review(object_, **(request or {}))))
    return validation_of(decoded, cluster, a_namespace_policy(cluster, **annotations))


def applied(object_: Json, verdict: Decision) -> Json:
    """What an applier that is not ours makes of the object."""
    return dict(jsonpatch.apply_patch(object_, patch_of(verdict)))


def patch_of(verdict: Decision) -> list[Json]:
    """The operations as the API server reads them."""
    patch = msgspec.json.decode(review.encode_patch(verdict.operations), type=str)
    return list(msgspec.json.decode(base64.b64decode(patch)))


def mutated(pod: Json, cluster: ClusterPolicy | None = None, /, **annotations: str) -> Json:
    """The pod after us."""
    return applied(pod, mutating_decision(pod, cluster, **annotations))


def memory(copied: dict[str, str]) -> str:
    """What a template's `from-workload` says of these copies."""
    return ",".join(
        f"{name.removeprefix(names.DOMAIN)}={hashlib.sha256(copied[name].encode()).hexdigest()[:8]}"
        for name in sorted(copied)
    )


def with_memory(copied: dict[str, str]) -> dict[str, str]:
    """A template's annotations of our domain where these are copies."""
    return {**copied, names.FROM_WORKLOAD: memory(copied)}


def volume(pod: Json, name: str) -> Json:
    return next(item for item in pod["spec"]["volumes"] if item["name"] == name)


def volume_names(pod: Json) -> list[str]:
    return [item["name"] for item in pod["spec"].get("volumes") or []]


def mounts(pod: Json) -> dict[str, list[tuple[str, str]]]:
    """For each container its mounts: pairs of volume and path."""
    all_containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
    return {
        container["name"]: [
            (mount["name"], mount["mountPath"]) for mount in container.get("volumeMounts") or []
        ]
        for container in all_containers
    }


def token(pod: Json, name: str) -> Json:
    """The token source of an API access volume."""
    return dict(volume(pod, name)["projected"]["sources"][0]["serviceAccountToken"])


def a_bare_pod(
    *containers: Json, name: str = "web", annotations: dict[str, str] | None = None, **spec: Any
) -> Json:
    return {
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"containers": list(containers) or [a_container()], **spec},
    }


def with_tokens(*tokens: Json, name: str = "web", **spec: Any) -> Json:
    """A pod that automounts nothing, with these token sources in one volume."""
    sources = [
        {"serviceAccountToken": {"path": f"t{number}", **token}}
        for number, token in enumerate(tokens)
    ]
    volumes = [{"name": "t", "projected": {"sources": sources}}]
    return a_bare_pod(
        name=name, **{"automountServiceAccountToken": False, "volumes": volumes, **spec}
    )


def a_deployment(annotations: dict[str, str] | None = None, **spec: Any) -> Json:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [a_container()], **spec}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": annotations or {}},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


COMPLIANT = with_tokens({"expirationSeconds": 3600})
VIOLATING = with_tokens({"expirationSeconds": 3607})
"""StatusError at the level `bound`: the API server makes a year of 3607 seconds."""


def directory(path: str) -> str:
    """A mount path as a runtime reads it."""
    return posixpath.normpath("/" + path.lstrip("/"))
