"""Checks of the rights of our service account."""

from collections.abc import Iterator, Sequence

from ..core import names
from . import shipped
from .facts import Granted, Installation, Right
from .model import (
    AGAIN,
    APPLY,
    Check,
    Finding,
    NotSeen,
    Unseen,
    all_of,
    failed,
    listed,
    passed,
    there,
    warning,
    worst,
)
from .objects import LEGACY_FLAG, Deployment

GROUP = "Rights of boundtoken"
OPTIONAL = "boundtoken-legacy-tokens"
"""The binding of the component legacy-tokens, and its role."""
NO_ACCOUNT = (
    "Apply the installation again, your overlay or helm upgrade with the same values, and then restart "
    "the replicas: a token of an account that was deleted is never valid again."
)
LOST = (
    "Let the rollout finish: a replica of before it serves what it has, and nothing once it starts again. "
    "The checks rollout, replicas and mounted-secrets say what it waits for."
)
OF_OURS = f"{AGAIN} That puts its roles right; a stolen token may do all that they grant."
LEFT_OVER = (
    "The component legacy-tokens was taken out, which kubectl apply does not delete the objects of: "
    "delete them. A stolen token may do all that they grant."
)
DEFAULTS = frozenset(
    f"clusterrolebinding/system:{name}"
    for name in (
        "discovery",
        "cluster-trust-bundle-discovery",
        "basic-user",
        "public-info-viewer",
        "service-account-issuer-discovery",
    )
)
"""What the API server itself grants to every account (rbac/bootstrappolicy/policy.go)."""


def _needed(seen: Installation) -> tuple[Right, ...]:
    found = seen.deployed()
    has_probe = found.has_self_probe
    if not found.brings_certificate:
        return shipped.rights(seen.own, has_probe=has_probe)
    closed = shipped.FAIL_CLOSED_RIGHTS if _fails_closed(seen) else ()
    return (*shipped.rights(seen.own, keeps_ca=False, has_probe=has_probe), *closed)


def _fails_closed(seen: Installation) -> bool:
    """Whether an entry of ours does, as far as is seen."""
    try:
        return any(entry.failure_policy == "Fail" for _, entry in seen.entries())
    except NotSeen:
        return False


def missing(seen: Installation) -> Finding:
    """Whether the account is there, and may do what the replicas do with it."""
    if seen.account is None:
        text = f"serviceaccount/{names.APP} is not in namespace {seen.own}: every token of the replicas is refused"
        restart = f"kubectl rollout restart deployment/{names.APP} -n {seen.own}"
        return failed(text, APPLY, restart, cure=NO_ACCOUNT)
    unseen = [seen.account.why] if isinstance(seen.account, Unseen) else []
    unknown = all_of(unseen, status="unknown")
    return worst(_missing(seen), unknown, _lost(seen), text="all are granted")


def _missing(seen: Installation) -> Finding:
    lacking = _lacking(seen, _needed(seen))
    text = f"serviceaccount/{names.APP} may not: {listed(lacking, ', ')}"
    return all_of([text] if lacking else [], APPLY)


def _lacking(seen: Installation, needed: Sequence[Right]) -> list[str]:
    granted = there(seen.rights)
    return [str(right) for right in needed if not any(covers(one.right, right) for one in granted)]


def _lost(seen: Installation) -> Finding:
    """Whether replicas of before a change of the mode keep a CA, for which the rights are gone."""
    if not seen.brings_certificate or not isinstance(seen.replicas, tuple):
        return passed()
    pods = [f"pod/{one.name}" for one in seen.replicas if one.keeps_ca]
    here = [right._replace(namespace=seen.own) for right in shipped.CA_SECRET_RIGHTS]
    if not pods or not _lacking(seen, (*shipped.CA_BUNDLE_RIGHTS, *here)):
        return passed()
    text = f"of an older template, and without the rights to keep a CA of its own: {listed(pods, ', ')}"
    return warning(text, f"kubectl rollout status deployment/{names.APP} -n {seen.own}", cure=LOST)


def excess(seen: Installation) -> Finding:
    """What is granted beside what is needed, with the binding that does."""
    probe = (right._replace(namespace=seen.own) for right in shipped.PROBE_RIGHTS)
    needed = (*_needed(seen), *probe)  # which plain manifests grant where there is no probe too
    more = [
        one
        for one in there(seen.rights)
        if one.binding not in DEFAULTS
        if one.right not in needed
        if not (_is_of_component(one) and _may_look_for_legacy_tokens(seen))
    ]
    ours = [one for one in more if one.is_ours(seen.own)]
    left_over = list(filter(_is_of_component, more))
    others = [one for one in more if not one.is_ours(seen.own) and not _is_of_component(one)]
    titles = f"clusterrolebinding/{OPTIONAL} clusterrole/{OPTIONAL}"
    why = f"{OPTIONAL} is left over, for the Deployment has no {LEGACY_FLAG}=on"
    return worst(
        *([warning(_also(others))] if others else ()),
        *([warning(_also(ours), APPLY, cure=OF_OURS)] if ours else ()),
        *([warning(f"{_also(left_over)}; {why}", f"kubectl delete {titles}", cure=LEFT_OVER)] if left_over else ()),
        text="no more than needed",
    )  # fmt: skip


def _also(more: Sequence[Granted]) -> str:
    bindings = list(dict.fromkeys(one.binding for one in more))
    rights = list(dict.fromkeys(str(one.right) for one in more))
    return f"{listed(bindings, ', ')} also grants: {listed(rights, ', ')}"


def _is_of_component(granted: Granted) -> bool:
    """Whether the component legacy-tokens grants it."""
    return (
        granted.binding == f"clusterrolebinding/{OPTIONAL}"
        and granted.right in shipped.LEGACY_RIGHTS
    )


def _may_look_for_legacy_tokens(seen: Installation) -> bool:
    """Whether the replicas need that, or whether that was not seen."""
    found = seen.deployment
    return not isinstance(found, Deployment) or found.looks_for_legacy_tokens


def covers(granted: Right, needed: Right) -> bool:
    """Whether RBAC lets do with the one what the other names.

    Source: kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go.
    """
    return (
        granted.verb in ("*", needed.verb)
        and granted.group in ("*", needed.group)
        and granted.resource in ("*", needed.resource)
        and granted.name in ("", needed.name)
        and granted.namespace in ("", needed.namespace)
    )


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "rights",
        GROUP,
        "its service account may do what it needs",
        AGAIN,
        missing,
    )
    yield Check(
        "rights-excess",
        GROUP,
        "its service account may do no more",
        "Delete the binding, or remove the account from it: a stolen token may do all that it grants. "
        "Keep clusterrolebinding/boundtoken, and rolebinding/boundtoken in its namespace: applying the "
        "installation again puts their roles right.",
        excess,
    )
