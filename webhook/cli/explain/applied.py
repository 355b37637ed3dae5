"""What is applied together with the manifests that are explained: their Namespaces and service
accounts, which the cluster may not have yet.
"""

from collections.abc import Iterable
from typing import Any

from ...simulation import explanation
from ...simulation.explanation import DEFAULT_ACCOUNT, member
from ..cluster import surroundings
from ..cluster.surroundings import Account, Namespace
from .offline import is_namespace, namespace_name

JsonObject = dict[str, Any]


def account_name(document: JsonObject) -> str:
    """The name of the service account of the pods of an object."""
    spec = member(explanation.template_of(document) or document, "spec")
    return explanation.account_of(spec)


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
                self.namespaces[name] = surroundings.namespace_of(one)
            elif (one.get("apiVersion"), one.get("kind")) == ("v1", "ServiceAccount"):
                self.accounts[namespace_name(one, default), name] = one

    def to_namespace(self, found: Namespace) -> Namespace:
        """The namespace after its manifest was applied, which takes nothing off."""
        given = self.namespaces.get(found.name)
        if given is None or (found.annotations is None and not found.problem):
            return found
        labels = {**(found.labels or {}), **(given.labels or {})}
        annotations = {**(found.annotations or {}), **(given.annotations or {})}
        return Namespace(found.name, labels, annotations, found.document)

    def to_account(self, namespace: str, name: str, found: Account) -> Account:
        """The service account after its manifest was applied. The API server makes `default`."""
        given = self.accounts.get((namespace, name))
        if given is not None and "automountServiceAccountToken" in given:
            return Account(given["automountServiceAccountToken"] is False)
        is_made = given is not None or (namespace in self.namespaces and name == DEFAULT_ACCOUNT)
        return found._replace(is_missing=found.is_missing and not is_made)
