"""Manifests without a cluster: the decisions alone, in the namespaces of files."""

import argparse
from typing import Any

import msgspec

from ...core import names, review
from ...core.decision import Decision
from ...core.policy import ClusterPolicy
from ...enforcement import namespaces, validate
from ...errors import MalformedReview
from ...simulation import explanation
from ...simulation.admission import Admission
from ..cluster import surroundings
from ..cluster.surroundings import Account, Namespace, Surroundings
from . import given
from .applied import Applied, is_namespace, namespace_name
from .given import Document
from .report import Report, Target, of_decision, report

JsonObject = dict[str, Any]
DEFAULT_NAMESPACE = "default"
NOT_LOOKED_AT = (
    "nothing of a cluster: not whether boundtoken would be called and reached, not what else changes "
    "pods, and no service account but those of the manifests"
)


def explain(
    parsed: argparse.Namespace, configuration: ClusterPolicy | None, documents: list[Document]
) -> Report:
    """What is told of these documents."""
    own = parsed.webhook_namespace or names.NAMESPACE
    cluster = msgspec.structs.replace(configuration or ClusterPolicy(), own_namespace=own)
    around = Surroundings(cluster, "--config" if configuration is not None else "the defaults")
    beside = given.manifests(parsed.namespace_file).documents
    default = parsed.namespace or DEFAULT_NAMESPACE
    applied = Applied([one.object for one in (*beside, *documents)], default)
    objects = []
    for document in documents:
        if is_namespace(document.object):
            objects.append(of_namespace(document, cluster))
            continue
        name = namespace_name(document.object, default)
        namespace = applied.namespaces.get(name, Namespace(name, None, {}, {}))
        account = applied.to_account(name, explanation.account_of(document.object), Account())
        explained = explanation.explain(
            document.object, around.admission(namespace), opts_out=account.opts_out
        )
        target = Target(document.object, explained, namespace, around, is_living=False)
        found = {"source": document.source, **report(target, with_patch=parsed.show_patch)}
        if name not in applied.namespaces:
            found["notes"] = ["its Namespace is in no file: as if it had no annotations"]
        objects.append(found)
    return {"objects": objects, "notes": [NOT_LOOKED_AT], "unread": []}


def of_namespace(document: Document, cluster: ClusterPolicy) -> Report:
    """What the validating webhook says of a Namespace that is created."""
    problem = ""
    name = str(explanation.member(document.object, "metadata").get("name", ""))
    admission = Admission(
        "", cluster, surroundings.Surroundings(cluster).policy(Namespace(name, {}, {}, {}))
    )
    try:
        if not isinstance(document.object.get("metadata") or {}, dict):
            raise MalformedReview("metadata: must be an object")
        request = review.decode_full(admission.review_of(document.object))
        reason = validate.skip_reason(request, cluster)
        decision = Decision(reason) if reason else namespaces.review(request, cluster).decision
    except MalformedReview as malformed:
        decision, problem = Decision("malformed-review", outcome="failed"), str(malformed)
    problems = [problem] if problem else []
    if decision.outcome == "denied":
        problems = ["boundtoken refuses it"]
    return {
        "source": document.source,
        "kind": "Namespace",
        "name": name,
        "namespace": "",
        "verdict": {
            **of_decision(decision, with_patch=False),
            "denial": decision.denial,
            "problem": problem,
        },
        "faults": [str(fault) for fault in decision.faults],
        "problems": problems,
        "notes": [],
    }
