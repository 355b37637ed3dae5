"""Objects of a cluster, and manifests as a cluster would take them."""

import argparse
from collections.abc import Sequence
from typing import Any

import msgspec

from ... import __version__
from ...cluster.client import ApiClient
from ...cluster.credentials import FromKubeconfig
from ...core.policy import ClusterPolicy
from ...core.text import quote
from ...errors import ApiError, NotFound
from ...simulation import explanation
from ...simulation import living as simulated
from ...simulation.explanation import Explained, member
from ..cluster import surroundings
from ..cluster.kinds import BY_KIND
from ..cluster.reader import Reader
from ..cluster.surroundings import Account, Namespace, Surroundings
from ..cluster.views import LivingPod
from . import audit, living, refusals
from .applied import Applied, is_namespace, namespace_name
from .audit import Answer
from .given import Document, Named
from .living import Owned
from .offline import DEFAULT_NAMESPACE, of_namespace
from .report import Report, Target, report

JsonObject = dict[str, Any]
RESTART = "it differs from what it would get now"
NO_ACCOUNT = "the API server refuses its pods, for there is no service account of this name"
UNKNOWN = "the configuration was not seen: its defaults, locks and exclusions may decide otherwise"


async def explain(
    parsed: argparse.Namespace,
    configuration: ClusterPolicy | None,
    objects: Sequence[Named] | Sequence[Document],
) -> Report:
    """What is told of these objects.

    Raises: ApiError, where a named object cannot be read; Unauthenticated
    """
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    namespace = parsed.namespace or credentials.namespace or DEFAULT_NAMESPACE
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        reader = Reader(client)
        # First, so that a wrong name or an unreachable cluster is told at once.
        documents = [
            one if isinstance(one, Document) else await read_named(client, one, namespace)
            for one in objects
        ]
        around = await surroundings.read(reader, parsed.webhook_namespace, configuration)
        live = Live(parsed, reader, around)
        manifests = [one.object for one in objects if isinstance(one, Document)]
        live.applied = Applied(manifests, namespace)
        found = [
            await live.explain(document, namespace, is_living=isinstance(one, Named))
            for document, one in zip(documents, objects, strict=True)
        ]
    unread = [{"what": what, "why": why} for what, why in reader.unread.items()]
    return {"objects": found, "notes": [], "unread": unread}


async def read_named(client: ApiClient, given: Named, namespace: str) -> Document:
    """The object of this name. Raises: NotFound; ApiError, where it may not be read"""
    title = f"{given.kind.kind.lower()}/{given.name}"
    try:
        reader = Reader(client)
        path = given.kind.path(namespace, given.name)
        document = await reader.document(path, f"{given.kind.resource} in {namespace}")
    except NotFound:
        raise NotFound(f"{title} is not in namespace {namespace}") from None
    if document is None:
        raise ApiError(f"{title}: {next(iter(reader.unread.values()))}")
    document |= {"apiVersion": given.kind.api, "kind": given.kind.kind}
    return Document("the cluster", document)


class Live:
    """Explains one object after the other; what is read of namespaces is kept."""

    def __init__(self, parsed: argparse.Namespace, reader: Reader, around: Surroundings) -> None:
        self.parsed, self.reader, self.around = parsed, reader, around
        self.namespaces: dict[str, Namespace] = {}
        self.accounts: dict[tuple[str, str], Account] = {}
        self.applied = Applied([], "")
        self.pods: list[LivingPod] = []
        """Those of the object that was explained last."""

    async def explain(self, document: Document, default: str, *, is_living: bool) -> Report:
        """One object."""
        if is_namespace(document.object):
            return of_namespace(document, self.around.cluster)
        name = default if is_living else namespace_name(document.object, default)
        if name not in self.namespaces:
            read = await surroundings.read_namespace(self.reader, name)
            self.namespaces[name] = self.applied.to_namespace(read)
        namespace = self.namespaces[name]
        if is_living and document.object["kind"] == "Pod":
            found = await self._pod(document.object, namespace)
        else:
            found = await self._other(document.object, namespace, is_living=is_living)
        return {"source": document.source, **found}

    async def _pod(self, pod: JsonObject, namespace: Namespace) -> Report:
        """A living pod: as its owner would make it now, or as its own manifest would."""
        try:
            listed = msgspec.convert(pod, LivingPod)
        except msgspec.ValidationError as problem:
            raise ApiError(f"the answer cannot be read: {problem}") from problem
        owned = await living.owner_of(self.reader, pod, namespace.name)
        made_of = owned.document or simulated.as_created(pod)
        explained = await self._explained(made_of, namespace)
        target = Target(pod, explained, namespace, self.around, is_living=True)
        target.made_of = made_of
        found = report(target, with_patch=self.parsed.show_patch)
        found["problems"] += await self._refused(target)
        if owned.owner is not None:
            found["owner"] = f"{owned.owner.kind.lower()}/{owned.owner.name}"
        if owned.owner is not None and owned.document is None:
            found["notes"] = ["what it would get is worked out from the pod, not from its owner"]
        return await self._with_pods(target, found, [listed], owned)

    async def _other(
        self, document: JsonObject, namespace: Namespace, *, is_living: bool
    ) -> Report:
        """A manifest, or a living workload and its pods."""
        explained = await self._explained(document, namespace)
        target = Target(document, explained, namespace, self.around, is_living=is_living)
        found = report(target, with_patch=self.parsed.show_patch)
        found["problems"] += await self._refused(target)
        kind = BY_KIND.get(str(document.get("kind"))) if is_living else None
        if kind is None:
            return found
        pods = await living.pods_of(self.reader, kind, document, namespace.name)
        if pods is None:
            return found
        name = str(member(document, "metadata").get("name", ""))
        own = simulated.owner(kind.kind, name, document)
        above = await living.owner_of(self.reader, document, namespace.name)
        owned = Owned(document, above.owner or own, (own, *above.owners))
        return await self._with_pods(target, found, pods, owned)

    async def _explained(self, document: JsonObject, namespace: Namespace) -> Explained:
        account = await self._account(document, namespace)
        admission = self.around.admission(namespace)
        return explanation.explain(document, admission, opts_out=account.opts_out)

    async def _account(self, document: JsonObject, namespace: Namespace) -> Account:
        """The service account of the pods of an object."""
        key = namespace.name, explanation.account_of(document)
        if key not in self.accounts:
            found = await surroundings.read_account(self.reader, *key)
            self.accounts[key] = self.applied.to_account(*key, found)
        return self.accounts[key]

    async def _refused(self, target: Target) -> list[str]:
        """What the ServiceAccount plugin refuses, before any webhook is called."""
        before, namespace = target.explained.before, target.namespace
        if before is None or namespace.problem or target.explained.mutation.reason == "mirror-pod":
            return []
        account = await self._account(before, namespace)
        name = explanation.account_of(before)
        return [f"{NO_ACCOUNT}: {quote(name)}"] if account.is_missing else []

    async def _with_pods(
        self,
        target: Target,
        found: Report,
        pods: list[LivingPod],
        owned: Owned,
    ) -> Report:
        """The report with what living pods have, why they differ, and what to restart."""
        namespace = target.namespace
        self.pods = pods
        found["refusals"] = (
            await refusals.refusals(self.reader, namespace.name, owned.owners, pods)
            if owned.owners
            else []
        )
        titled = [(f"namespace/{namespace.name}", namespace.document)]
        if owned.owner is None:
            titled.append((f"pod/{pods[0].metadata.name}", target.document))
        elif owned.document is not None:
            titled.append((owned.title, owned.document))
        target.has_log = bool(self.parsed.audit_log)
        changed = living.changes(titled)
        answers = self._answers(namespace.name, pods)
        found["wouldGet"] = living.would_get(target.explained) if found["verdict"] else None
        found["pods"] = [
            living.compared(target, pod, changed, answers.get(pod.metadata.name, Answer()))
            for pod in pods
        ]
        # Locks and defaults that were not seen may be why a pod that we changed differs.
        is_known = self.around.is_configuration_known
        if not is_known:
            found.setdefault("notes", []).append(UNKNOWN)
        differing = [
            pod["name"]
            for pod, living_pod in zip(found["pods"], pods, strict=True)
            if pod["differs"] and (is_known or not pod["has"]["status"])
            if not living_pod.has_ended
        ]
        if differing:
            command, remark = simulated.restart(owned.owner, differing[0], namespace.name)
            found["restart"] = {"command": command, "remark": remark}
            several = f"{len(differing)} of {len(pods)} pods differ from what they would get now"
            found["problems"].append(RESTART if len(pods) == 1 else several)
        return found

    def _answers(self, namespace: str, pods: list[LivingPod]) -> dict[str, Answer]:
        """What the audit log says of the call to us when each pod was made."""
        if not self.parsed.audit_log:
            return {}
        rows = [(namespace, p.metadata.name, p.metadata.creation_timestamp) for p in pods]
        return audit.answers(self.parsed.audit_log, rows)
