"""What a person may apply after a scan: service accounts that stop to automount, and the next step
of a namespace. Each is a merge patch (RFC 7386) with the names of its object.

The steps of a namespace: its pods get tokens of ours; then what its tokens comply with is enforced,
`bound` and then `strict`. What they would not comply with is never enforced.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..core import names
from ..simulation import living
from .coverage import is_of_the_cluster
from .report import Namespace, Report, is_year_long

JsonObject = dict[str, Any]


class Fix(NamedTuple):
    """What to apply in a namespace: for each object a sentence, and the patch."""

    namespace: str
    patches: tuple[tuple[str, JsonObject], ...]


def fixes(report: Report) -> tuple[Fix, ...]:
    """By namespace, for those that boundtoken reaches. A name that is none of Kubernetes is left
    out.
    """
    found: defaultdict[str, list[tuple[str, JsonObject]]] = defaultdict(list)
    automounted = {
        token.namespace
        for token in report.tokens
        if token.source == "automounted" and is_year_long(token.lifetime_seconds)
    }
    for namespace in report.namespaces:
        if namespace.covered and living.is_name(namespace.name):
            # What was not seen may be refused once a level is enforced.
            is_whole = report.complete and not report.unread
            is_automounted = namespace.name in automounted
            found[namespace.name] += _step(namespace, is_automounted, is_whole=is_whole)
    for account in report.service_accounts:
        is_ours = living.is_name(account.name) and living.is_name(account.namespace)
        if account.automount and is_ours and not is_of_the_cluster(account.namespace):
            text = f"serviceaccount/{account.name}: no pod gets a token by its automounting"
            found[account.namespace].append((text, _opted_out(account.namespace, account.name)))
    return tuple(Fix(name, tuple(pairs)) for name, pairs in sorted(found.items()) if pairs)


def _step(
    namespace: Namespace,
    is_automounted: bool,  # noqa: FBT001  (whether a year-long token of it is automounted)
    *,
    is_whole: bool,
) -> Iterator[tuple[str, JsonObject]]:
    name = namespace.name
    if namespace.inject == "disabled" and namespace.year_long and is_automounted:
        text = f"namespace/{name}: new pods get a token that lives an hour instead of a year"
        yield text, _annotated(name, {names.INJECT: "replace", names.AUTOMOUNT: "disabled"})
        return
    is_stricter = (namespace.after_restart, namespace.enforce) in (
        ("bound", ""),
        ("strict", ""),
        ("strict", "bound"),
    )
    if namespace.inject and namespace.tokens and is_stricter and is_whole:
        text = f"namespace/{name}: all its tokens reach {namespace.after_restart} once its pods are made again"
        yield text, _annotated(name, {names.ENFORCE: namespace.after_restart})


def _annotated(name: str, annotations: dict[str, str]) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "annotations": annotations},
    }


def _opted_out(namespace: str, name: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
        "automountServiceAccountToken": False,
    }
