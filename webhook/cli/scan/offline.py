"""A scan of manifests: as if everything in them were created, in the Namespaces among them; living
pods, as kubectl get prints them, as they are.
"""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from ...core import names
from ...core.policy import ClusterPolicy
from ...errors import BadInput
from ...scanning import views
from ...scanning.report import Report, Selection
from ...scanning.rights import Rights
from ...scanning.scan import Scan, Surroundings
from ...simulation.admission import as_decoded
from ...simulation.calling import Selector
from ...simulation.explanation import member, template_of
from ...simulation.templates import group_and_kind
from ...tokens.rbac.objects import Binding, Role
from ...yamledit.nodes import Values
from ..manifests.policies import members
from ..manifests.reading import read_all, values_of
from . import selecting

JsonObject = dict[str, Any]
T = TypeVar("T")
DEFAULT_NAMESPACE = "default"
RBAC = "rbac.authorization.k8s.io"
CLUSTER_WIDE = {
    ("", "Namespace"),
    ("storage.k8s.io", "CSIDriver"),
    (RBAC, "ClusterRole"),
    (RBAC, "ClusterRoleBinding"),
}


class Manifest(NamedTuple):
    """An object of a file, with its place and its namespace."""

    place: str
    namespace: str
    object: JsonObject

    @property
    def kind(self) -> tuple[str, str]:
        return group_and_kind(self.object)


def scan(parsed: argparse.Namespace, configuration: ClusterPolicy | None) -> Report:
    """The report; not complete where it was interrupted by Ctrl-C. Raises: BadInput"""
    found: list[Manifest] = []
    made = _empty(parsed, configuration)
    is_complete = True
    try:
        _read(parsed, found)
        if not found:
            raise BadInput("there is no object in what -f gives")
    except KeyboardInterrupt:
        is_complete = False
    try:  # a second time, while what was read is judged
        _fill(made, found, parsed)
    except KeyboardInterrupt:
        is_complete = False
    if not is_complete:
        made.interrupt()
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return made.report(time, complete=is_complete)


def _empty(parsed: argparse.Namespace, configuration: ClusterPolicy | None) -> Scan:
    cluster = configuration or ClusterPolicy()
    if parsed.webhook_namespace:
        own = parsed.webhook_namespace
        cluster = msgspec.structs.replace(cluster, own_namespace=own)
    # A pod that boundtoken changed under a configuration that is not given may differ by that.
    is_configured = configuration is not None
    made = Scan(Surroundings(cluster, is_configured=is_configured, is_living=False))
    made.is_whole = not (parsed.selector or parsed.namespace_selector)
    labels, of_namespaces = parsed.selector or "", parsed.namespace_selector or ""
    is_given = bool(parsed.config or parsed.webhook_namespace)
    made.selection = Selection((), labels, of_namespaces, files=True, configured=is_given)
    return made


def _fill(made: Scan, found: list[Manifest], parsed: argparse.Namespace) -> None:
    chosen = _chosen(found, parsed.namespace_selector)
    found = [one for one in found if not one.namespace or chosen is None or one.namespace in chosen]
    _learn(made, found, chosen)
    rights = Rights()
    _add_all(found, ((RBAC, "Role"), (RBAC, "ClusterRole")), Role, rights.add_role)
    bindings = ((RBAC, "RoleBinding"), (RBAC, "ClusterRoleBinding"))
    _add_all(found, bindings, Binding, rights.add_binding)
    made.minters = rights.minters
    made.unread |= dict.fromkeys(rights.missing, "it is bound, and in no file")
    _add_pods(made, found, parsed)


def _read(parsed: argparse.Namespace, found: list[Manifest]) -> None:
    """Add the objects of each file once it is read whole. Raises: BadInput"""
    default = next(iter(parsed.namespace), DEFAULT_NAMESPACE)

    def add(name: str, path: Path | None, content: bytes, counted: Values) -> None:
        documents = _documents(name, path, content, counted)
        found.extend(
            _manifest(place, one, default) for place, value in documents for one in members(value)
        )

    read_all(parsed.filename, add)


def _manifest(place: str, value: JsonObject, default: str) -> Manifest:
    decoded = as_decoded(value)
    namespace = str(member(decoded, "metadata").get("namespace") or default)
    if group_and_kind(decoded) in CLUSTER_WIDE:
        namespace = ""
    if isinstance(decoded.get("metadata") or {}, dict):
        decoded["metadata"] = {**member(decoded, "metadata"), "namespace": namespace}
    return Manifest(place, namespace, decoded)


def _documents(name: str, _: Path | None, content: bytes, counted: Values) -> list[tuple[str, Any]]:
    """The documents of a file, each with its place."""
    return [(f"{name}:{one.begins}", one.value) for one in values_of(content, counted)]


def _chosen(found: list[Manifest], text: str | None) -> set[str] | None:
    """The namespaces that --namespace-selector chooses, None for all."""
    if not text:
        return None
    selector = selecting.parse(text, "--namespace-selector")
    return {
        str(member(one.object, "metadata").get("name"))
        for one in found
        if one.kind == ("", "Namespace") and _matches(one.object, selector)
    }


def _learn(made: Scan, found: list[Manifest], chosen: set[str] | None) -> None:
    """What pods are judged by: Namespaces, service accounts, Secrets, CSI drivers."""

    def add_namespace(namespace: views.Namespace) -> None:
        if chosen is None or namespace.metadata.name in chosen:
            made.add_namespace(namespace)

    _add_all(found, (("", "Namespace"),), views.Namespace, add_namespace)
    _add_all(found, (("", "ServiceAccount"),), views.ServiceAccount, made.accounts.add)
    legacy = [
        one
        for one in found
        if one.kind == ("", "Secret") and one.object.get("type") == names.LEGACY_TOKEN_TYPE
    ]
    _add_all(legacy, (("", "Secret"),), views.Secret, made.accounts.add_secret)
    # A driver that is in no file may request tokens, and nobody knows.
    if not any(one.kind == ("storage.k8s.io", "CSIDriver") for one in found):
        made.drivers = None
    _add_all(found, (("storage.k8s.io", "CSIDriver"),), views.CsiDriver, made.add_driver)


def _add_all(
    found: list[Manifest],
    kinds: tuple[tuple[str, str], ...],
    view: type[T],
    add: Callable[[T], None],
) -> None:
    """Raises: BadInput, with the place of each object of these kinds that cannot be read"""
    faults = []
    for one in found:
        if one.kind in kinds:
            try:
                add(msgspec.convert(one.object, view))
            except msgspec.ValidationError as problem:
                faults.append(f"{one.place}: {problem}")
    if faults:
        raise BadInput(*faults)


def _add_pods(made: Scan, found: list[Manifest], parsed: argparse.Namespace) -> None:
    labels = selecting.parse(parsed.selector, "-l") if parsed.selector else None
    chosen = [one for one in found if _matches(one.object, labels)]
    pods = [one for one in chosen if one.kind == ("", "Pod")]
    makers = [one for one in chosen if one.kind != ("", "Pod") and template_of(one.object)]
    # What is made of another object is left to that one, which has to come before.
    for one in sorted(
        makers, key=lambda one: bool(member(one.object, "metadata").get("ownerReferences"))
    ):
        made.add_workload(one.object, one.namespace, one.place)
    for one in pods:
        if member(one.object, "status").get("phase") in ("Succeeded", "Failed"):
            continue  # what kubectl get gives of a pod that has ended
        if (pod := _living(one.object)) is not None:
            made.add_pod(pod, one.place)
        else:
            made.add_manifest(one.object, one.namespace, one.place)


LIFE = 2
"""Of the three that a living pod has, and of which a manifest may have one: some write nodeName."""


def _living(document: JsonObject) -> views.Pod | None:
    """The pod of a document that kubectl get printed; None of a manifest, and of what cannot be
    read.
    """
    signs = (
        member(document, "metadata").get("uid"),
        member(document, "spec").get("nodeName"),
        member(document, "status").get("phase"),
    )
    if sum(isinstance(sign, str) and bool(sign) for sign in signs) < LIFE:
        return None
    try:
        return msgspec.convert(document, views.Pod)
    except msgspec.ValidationError:
        return None


def _matches(document: JsonObject, selector: Selector | None) -> bool:
    labels = member(member(document, "metadata"), "labels")
    texts = {key: str(value) for key, value in labels.items()}
    return selector is None or selector.matches(texts)
