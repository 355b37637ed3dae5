"""Reads what the checks of one workload judge: by `explain`, and what that does not look at."""

import argparse
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from ...checks.model import Result, Unseen, run
from ...checks.workload import Frozen, Pod, PodToken, Refusal, Workload, checks
from ...cluster.client import ApiClient, decode
from ...core import names, policy
from ...core.text import quote, truncate
from ...errors import ApiError, BadInput
from ...scanning import views
from ...simulation import explanation
from ...simulation.explanation import account_of
from ...tokens.rbac.grants import ACCOUNT
from ...tokens.rbac.objects import GROUP_PATH, Binding, Subject
from ...tokens.rbac.roles import CLUSTER_SCOPED, GROUP_OF
from ..cluster import surroundings
from ..cluster.reader import FORBIDDEN, Reader
from ..cluster.surroundings import MUTATING
from ..explain import given
from ..explain.live import Live, read_named
from ..explain.offline import DEFAULT_NAMESPACE
from . import before, grants, secrets

JsonObject = dict[str, Any]
MAX_PAGES = 800
CAN = re.compile(
    r"([a-z*]{1,63})/([a-z]{1,63})(?:\.([a-z0-9.-]{1,253}))?(?:/([a-z]{1,63}))?", re.ASCII
)


async def results(parsed: argparse.Namespace, reader: Reader) -> tuple[Result, ...]:
    """The results of each check of the workload on the command line.

    Raises: BadInput; NotFound, where it is not there; ApiError, where it may not be read
    """
    return run(checks(), await _read(parsed, reader))


async def _read(parsed: argparse.Namespace, reader: Reader) -> Workload:
    found = given.named(argparse.Namespace(objects=parsed.words[1:]))
    if len(found) != 1:
        raise BadInput("workload: give one TYPE/NAME")
    rights = [_right(text) for text in parsed.can]
    client, named = reader.client, found[0]
    namespace = parsed.namespace or DEFAULT_NAMESPACE
    document = await read_named(client, named, namespace)
    around = await surroundings.read(reader, parsed.webhook_namespace, None)
    live = Live(parsed, reader, around)
    report = await live.explain(document, namespace, is_living=True)
    title = f"{named.kind.kind.lower()}/{named.name}"
    seen = Workload(title, namespace, client.now(), account_of(document.object))
    _of_report(seen, report, reader)
    of_namespace = around.policy(live.namespaces[namespace])
    heeded = policy.resolve(of_namespace, {names.INJECT: "enabled"})
    seen.can_override = heeded.decided_by["inject"] == "pod"
    seen.api_audiences = around.cluster.api_audiences
    await _account(seen, reader)
    await _secrets(seen, reader, document.object, live)
    seen.bindings = await _bindings(seen, reader)
    seen.can = {
        text: await _may(client, seen, right)
        for text, right in zip(parsed.can, rights, strict=True)
    }
    if around.configurations.get(MUTATING) is None:
        seen.unreached = Unseen(reader.unread.get(MUTATING, "it was not seen"))
    return seen


def _of_report(seen: Workload, report: JsonObject, reader: Reader) -> None:
    """What explain has told."""
    unread = next(iter(reader.unread.values()), "it was not seen")
    verdict = report["verdict"]
    seen.reason = Unseen(unread) if verdict is None else str(verdict["reason"])
    inject = next((row for row in report["layers"] if row["name"] == "inject"), None)
    seen.requested = inject is not None and inject["value"] != "disabled"
    requests = inject["requests"] if inject is not None else ()
    own = (one["value"] for one in requests if one["layer"] == "namespace" and not one["problem"])
    seen.namespace_inject = next(own, "")
    seen.faults = tuple(report["faults"])
    calls = [call for call in report["calls"] or () if call["webhook"] == "pods.boundtoken.dev"]
    seen.unreached = tuple(_unreached(calls))
    seen.refusals = tuple(map(_refusal, report.get("refusals") or ()))
    enforcement = report["enforcement"]
    seen.denial = str(enforcement["denial"]) if enforcement is not None else ""
    would = report.get("wouldGet")
    seen.would = Unseen(unread) if would is None else tuple(map(_token, would["tokens"]))
    if "pods" in report:
        # Of a pod that has ended nothing is to be done.
        seen.pods = tuple(_pod(pod) for pod in report["pods"] if not pod["ended"])
    else:
        seen.pods = Unseen(reader.unread.get(f"pods in {seen.namespace}", unread))
    restart = report.get("restart", {})
    seen.restart = str(restart.get("command", ""))
    seen.restart_remark = str(restart.get("remark", ""))


def _unreached(calls: list[JsonObject]) -> Iterator[str]:
    """Why boundtoken is not called about the pods, or not reached."""
    if not calls:
        yield "no webhook configuration has boundtoken's entry for pods"
    for call in calls:
        where = f"{call['configuration']} {call['webhook']}"
        yield from (
            f"{where}: {check['what']} does not match: {check['text']}".rstrip(": ")
            for check in call["checks"]
            if check["holds"] is False
        )
        yield from (
            f"{where}: {part} {call[part]['text']}"
            for part in ("caBundle", "service")
            if call[part]["ok"] is False
        )


def _refusal(told: JsonObject) -> Refusal:
    time = datetime.fromisoformat(told["time"]) if told["time"] else None
    return Refusal(told["object"], time, told["message"], told["count"])


def _token(told: JsonObject) -> PodToken:
    paths = tuple(dict.fromkeys(path.rstrip("/") for _, path in told["mounts"]))
    frozen = tuple(
        Frozen(one["container"], one["path"], datetime.fromisoformat(one["since"]))
        for one in told["neverRefreshed"]
    )
    return PodToken(
        told["volume"], told["file"], told["audience"], told["expirationSeconds"], paths, frozen
    )


def _pod(told: JsonObject) -> Pod:
    created = None
    if told["created"]:
        created = datetime.fromisoformat(told["created"])
    causes = tuple(cause["text"] for cause in told["causes"])
    return Pod(
        told["name"], created, tuple(map(_token, told["has"]["tokens"])), told["differs"], causes
    )


def _as_pod(template: JsonObject) -> views.Pod:
    """A pod of a template."""
    try:
        return msgspec.convert(template, views.Pod)
    except msgspec.ValidationError:
        return views.Pod()


async def _account(seen: Workload, reader: Reader) -> None:
    found = await surroundings.read_account(reader, seen.namespace, seen.account)
    what = f"serviceaccounts in {seen.namespace}"
    is_unread = what in reader.unread and not found.is_missing
    seen.is_account_missing = Unseen(reader.unread[what]) if is_unread else found.is_missing


async def _secrets(seen: Workload, reader: Reader, document: JsonObject, live: Live) -> None:
    """The Secrets that its pods use or would use, and of which of them each has a token."""
    template = explanation.template_of(document) or document
    made = _as_pod(template)
    seen.template = made.as_full
    living = {pod.metadata.name: views.Pod(spec=pod.spec) for pod in live.pods}
    required = set(secrets.used_by(made)) - secrets.optional(template)
    uses = dict.fromkeys(name for pod in (made, *living.values()) for name in secrets.used_by(pod))
    seen.secrets = await secrets.read(reader, seen.namespace, uses, required)
    seen.would_of_secrets = secrets.tokens_of(made, seen.secrets)
    if isinstance(seen.pods, tuple):
        seen.pods = tuple(
            pod._replace(of_secrets=secrets.tokens_of(living[pod.name], seen.secrets))
            for pod in seen.pods
        )


async def _bindings(seen: Workload, reader: Reader) -> tuple[str, ...] | Unseen:
    """The bindings of the account in its namespace and in the cluster."""
    account = Subject(ACCOUNT, seen.account, seen.namespace)
    found, unread = [], ""
    for path, what in (
        (f"{GROUP_PATH}/namespaces/{seen.namespace}/rolebindings", "rolebinding"),
        (f"{GROUP_PATH}/clusterrolebindings", "clusterrolebinding"),
    ):
        title = f"{what}s in {seen.namespace}" if what == "rolebinding" else f"{what}s"
        bindings = await reader.list(path, Binding, title, max_pages=MAX_PAGES)
        if bindings is None:
            unread = reader.unread[title]
            continue
        titles = (f"{what}/{one.metadata.name}" for one in bindings if grants.binds(one, account))
        found += [one for one in titles if not one.startswith("clusterrolebinding/system:")]
    return Unseen(unread) if unread and not found else tuple(found)


def _right(text: str) -> JsonObject:
    """The attributes of VERB/RESOURCE, with `.GROUP` and `/SUBRESOURCE` where they are given."""
    found = CAN.fullmatch(text)
    if found is None:
        raise BadInput(f"--can={quote(text)}: must be VERB/RESOURCE, such as get/configmaps")
    verb, resource, group, subresource = found.groups()
    if resource in CLUSTER_SCOPED and (group is None or group.endswith(".k8s.io")):
        raise BadInput(f"--can={quote(text)}: is in no namespace: kubectl auth can-i --as tells")
    if group is None and resource not in GROUP_OF:
        raise BadInput(f"--can={quote(text)}: needs the API group, such as {resource}.example.com")
    return {
        "verb": verb,
        "resource": resource,
        "group": GROUP_OF.get(resource, "") if group is None else group,
        "subresource": subresource or "",
    }


async def _may(client: ApiClient, seen: Workload, right: JsonObject) -> bool | Unseen:
    """Whether the account may, by every authorizer of the API server."""
    namespace = seen.namespace
    user = f"system:serviceaccount:{namespace}:{seen.account}"
    groups = ["serviceaccounts", f"serviceaccounts:{namespace}", "authenticated"]
    spec = {
        "user": user,
        "groups": [f"system:{group}" for group in groups],
        "resourceAttributes": {**right, "namespace": namespace},
    }
    path = f"/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews"
    body = {"metadata": {"namespace": namespace}, "spec": spec}
    try:
        return decode(before.REVIEW, await client.send("POST", path, body)).status.allowed
    except ApiError as problem:
        if problem.status == FORBIDDEN:
            return Unseen(f"needs create on localsubjectaccessreviews in {namespace}")
        return Unseen(truncate(str(problem)))
