"""What is applied together with the manifests that are explained: their Namespaces and service
accounts, which the cluster may not have yet.
"""

from collections.abc import Iterable
from typing import Any

from ...simulation.explanation import DEFAULT_ACCOUNT, member
from ..cluster import surroundings
from ..cluster.surroundings import Account, Namespace

JsonObject = dict[str, Any]


def is_namespace(document: JsonObject) -> bool:
    return (document.get("apiVersion"), document.get("kind")) == ("v1", "Namespace")


def namespace_name(document: JsonObject, default: str) -> str:
    """The namespace of an object of a file."""
    return str(member(document, "metadata").get("namespace") or default)


class Applied:
    """The Namespaces and service accounts among the manifests. `default` is the namespace of those
    that name none.
    """

    def __init__(self, manifests: Iterable[JsonObject], default: str) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.accounts: dict[tuple[str, str], JsonObject] = {}
        for one in manifests:
            name = str(member(one, "metadata").get("name", ""))
            if is_namespace(one):
                self.namespaces[name] = _applied(self.namespaces.get(name), one)
            elif (one.get("apiVersion"), one.get("kind")) == ("v1", "ServiceAccount"):
                key = namespace_name(one, default), name
                self.accounts[key] = {**self.accounts.get(key, {}), **one}

    def to_namespace(self, found: Namespace) -> Namespace:
        """The namespace after its manifest was applied, which takes nothing off."""
        given = self.namespaces.get(found.name)
        if given is None or (found.annotations is None and not found.problem):
            return found
        return _with(found, given)

    def to_account(self, namespace: str, name: str, found: Account) -> Account:
        """The service account after its manifest was applied. The API server makes `default`."""
        given = self.accounts.get((namespace, name))
        if given is not None and "automountServiceAccountToken" in given:
            return Account(given["automountServiceAccountToken"] is False)
        is_made = given is not None or (namespace in self.namespaces and name == DEFAULT_ACCOUNT)
        return found._replace(is_missing=found.is_missing and not is_made)


def _applied(found: Namespace | None, manifest: JsonObject) -> Namespace:
    given = surroundings.namespace_of(manifest)
    return given if found is None else _with(found, given)


def _with(found: Namespace, given: Namespace) -> Namespace:
    labels = {**(found.labels or {}), **(given.labels or {})}
    annotations = {**(found.annotations or {}), **(given.annotations or {})}
    return Namespace(found.name, labels, annotations, found.document)
