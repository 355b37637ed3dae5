"""Typed objects for a scan, and what is found of them."""

from typing import Any

import msgspec

from tests.support.builders import (
    Json,
    a_container,
    a_deployment,
    a_pod,
)
from webhook.core import names
from webhook.core.full_views import SecretRef
from webhook.core.policy import ClusterPolicy
from webhook.core.views import Metadata
from webhook.scanning import views
from webhook.scanning.report import Report
from webhook.scanning.scan import Scan, Surroundings, document_of

TIME = "2026-11-29T10:00:00Z"
ON: Any = {"inject": "enabled", "automount": "disabled"}


def a_space(name: str = "shop", **annotations: str) -> views.Namespace:
    given = {names.DOMAIN + key.replace("_", "-"): value for key, value in annotations.items()}
    return views.Namespace(views.ScannedMetadata(name=name, annotations=given, labels={}))


def living(pod: Json, name: str = "web", owner: str = "") -> views.Pod:
    """A pod as it is listed; `owner` is the name of its Deployment."""
    made = {**pod, "metadata": {**pod["metadata"], "name": name, "namespace": "shop"}}
    if owner:
        reference = {"kind": "ReplicaSet", "name": f"{owner}-7f", "controller": True}
        made["metadata"] |= {"ownerReferences": [{**reference, "apiVersion": "apps/v1"}]}
        made["metadata"]["labels"] = {"pod-template-hash": "7f"}
    return msgspec.convert(made, views.Pod)


def a_workload(name: str = "cart", kind: str = "Deployment", **metadata: Any) -> Json:
    made = {**a_deployment(), "apiVersion": "apps/v1", "kind": kind}
    made["metadata"] = {**made["metadata"], "name": name, "namespace": "shop", **metadata}
    workload = msgspec.convert(made, views.Workload)
    return document_of(workload, "apps/v1", kind)


def scanned(
    *pods: views.Pod,
    space: views.Namespace | None = None,
    workloads: tuple[Json, ...] = (),
    accounts: tuple[views.ServiceAccount, ...] = (),
    secrets: tuple[str, ...] = (),
    around: Surroundings | None = None,
) -> Report:
    scan = Scan(around or Surroundings())
    scan.add_namespace(space or a_space())
    for account in accounts:
        scan.accounts.add(account)
    for name in secrets:
        scan.accounts.add_secret(a_secret(name))
    for workload in workloads:
        scan.add_workload(workload, "shop")
    for pod in pods:
        scan.add_pod(pod)
    return scan.report(TIME)


def a_secret(name: str, last_used: str = "", account: str = "default") -> views.Secret:
    labels, annotations = views.SecretLabels(last_used), views.SecretAnnotations(account)
    return views.Secret(views.SecretMetadata(name, "shop", annotations, labels))


def codes(report: Report, prefix: str = "pod/") -> list[str]:
    return [one.code for one in report.findings if one.object.startswith(prefix)]


def rows(report: Report) -> list[tuple[str, str, str, str]]:
    return [(one.object, one.source, one.lifetime, one.level) for one in report.tokens]


ISSUER = "https://kubernetes.default.svc"
KNOWN = Surroundings(ClusterPolicy(api_audiences=(ISSUER,)))


def with_token(seconds: int | None, audience: str | None, **mount: Any) -> Json:
    source: Json = {"path": "token"}
    source |= {} if seconds is None else {"expirationSeconds": seconds}
    source |= {} if audience is None else {"audience": audience}
    container = a_container("app")
    container["volumeMounts"] = [{"name": "own", "mountPath": "/own", "readOnly": True, **mount}]
    volume = {"name": "own", "projected": {"sources": [{"serviceAccountToken": source}]}}
    return a_pod(container, volumes=[volume])


def account(name: str, *secrets: str, automounts: bool | None = None) -> views.ServiceAccount:
    references = tuple(SecretRef(secret) for secret in secrets)
    return views.ServiceAccount(Metadata(name=name, namespace="shop"), automounts, references)
