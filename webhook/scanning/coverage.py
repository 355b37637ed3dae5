"""Whether boundtoken reaches the pods of a namespace: the entry of its webhook configuration for
pods, and what the configuration excludes.
"""

from typing import Any

from ..core import names
from ..simulation.admission import Admission
from ..simulation.calling import Calling, Configuration, call_for, calling

A_POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "any"},
    "spec": {"containers": []},
}
LEFT_ALONE = {
    "excluded-namespace": "the configuration excludes it (namespaces.excluded)",
    "own-namespace": "it is boundtoken's own namespace",
}


def why_uncovered(
    admission: Admission,
    labels: dict[str, str] | None,
    mutating: tuple[Configuration, ...] | None,
) -> str:
    """Why no pod of this namespace is changed by boundtoken; empty where they may be. `mutating`
    are the cluster's configurations, None where they were not looked at.
    """
    reason = admission.admit(A_POD).mutation.reason
    if reason in LEFT_ALONE:
        return LEFT_ALONE[reason]
    if mutating is None:
        return ""
    call = call_for(A_POD, admission.name, labels, own_namespace=admission.cluster.own_namespace)
    found = [
        calling(entry, configuration.metadata.name, call)
        for configuration in mutating
        for entry in configuration.webhooks or ()
        if entry.is_ours
    ]
    reached = [one for one in found if one.is_for_the_resource]
    if not reached:
        what = "has no entry for pods" if found else "is not installed"
        return f"boundtoken's mutating webhook {what}"
    # One may be left of an earlier installation: one that is called is enough.
    return "" if any(one.called is not False for one in reached) else _why(reached[0])


def _why(found: Calling) -> str:
    check = next(one for one in found.checks if one.holds is False)
    detail = f" ({check.text})" if check.text else ""
    return f"{found.configuration}/{found.entry.name}: {check.what} leaves it out{detail}"


def is_of_the_cluster(namespace: str) -> bool:
    """Whether nobody expects boundtoken to reach it."""
    return namespace in names.NEVER_TOUCHED
