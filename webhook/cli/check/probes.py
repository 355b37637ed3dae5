"""What is tried: requests in a dry run, which change nothing and need the right to make them."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ...checks.facts import ConfigurationFile, Governance, Installation, Probe
from ...checks.model import Unseen
from ...checks.probes import ELSEWHERE
from ...cluster.client import ApiClient, decode
from ...core import names, policy, self_probe
from ...core.claims import claims_of
from ...core.full_views import FullPod, UserInfo
from ...core.policy import ClusterPolicy, Govern
from ...core.text import quote, truncate
from ...core.views import View
from ...enforcement import token_requests, validate
from ...errors import ApiError
from ...simulation import explanation, living
from ...simulation.living import Token, Tokens
from ..cluster import surroundings
from ..cluster.reader import FORBIDDEN, OBJECTS, Reader
from ..cluster.surroundings import Surroundings

ENFORCE: Govern = "enforce"
DRY_RUN = {"dryRun": "All"}
NAME = "boundtoken-check-"
ABSENT = "boundtoken-check-no-such-pod"
DEFAULT_NAMESPACE = "default"
MAX_NAMESPACES = 4
"""That request injection and are tried one after the other."""
REFUSED = "ValidatingAdmissionPolicy '{}'"
DENIED = re.compile(r'admission webhook "[a-z]+\.boundtoken\.dev" denied')
MAX_SECONDS = names.MAX_EXPIRATION_SECONDS_LIMIT
JsonObject = dict[str, Any]


def namespaces_for(seen: Installation) -> tuple[str, ...]:
    """Where a pod may be tried, best first: namespaces that request injection, by name, and
    `default`. None that is excluded or being deleted; so there may be none.
    """
    if not isinstance(seen.cluster, ClusterPolicy):
        return (DEFAULT_NAMESPACE,)
    excluded = {*seen.cluster.excluded, seen.own}
    found = []
    for namespace in seen.namespaces if isinstance(seen.namespaces, tuple) else ():
        metadata = namespace.metadata
        if metadata.deletion_timestamp:
            excluded.add(metadata.name)
        own = policy.namespace_annotations(metadata.annotations)
        if own and metadata.name not in excluded:
            resolved = policy.resolve_namespace(seen.cluster, own).resolution.policy
            if resolved.inject != "disabled":
                found.append(metadata.name)
    last = [] if DEFAULT_NAMESPACE in excluded else [DEFAULT_NAMESPACE]
    return tuple(dict.fromkeys(found[:MAX_NAMESPACES] + last))


def a_pod(*, annotated: bool) -> JsonObject:
    """A pod that every level of Pod Security lets in; `annotated` where its namespace requests
    nothing.
    """
    annotations = {names.INJECT: "enabled"} if annotated else {}
    return self_probe.restricted_pod(NAME, annotations)


def namespace_of(probe: Probe | Unseen) -> str:
    """Where token requests are tried, which are judged alike everywhere."""
    return probe.namespace if isinstance(probe, Probe) else DEFAULT_NAMESPACE


async def first_pod(
    reader: Reader, seen: Installation, namespaces: tuple[str, ...]
) -> Probe | Unseen:
    """What becomes of a pod in the first of these that lets one in and whose pods get a token; else
    that one is to have none, or why the first lets none in: a quota, a LimitRange or the webhook of
    others is no fault of boundtoken. Who has a namespace says what its pods get, and so may not
    decide what is found out.
    """
    refused: Probe | Unseen = Unseen(f"every namespace that could be tried is excluded{ELSEWHERE}")
    without: Probe | None = None
    for number, namespace in enumerate(namespaces):
        found = await pod(reader, seen, namespace)
        if not isinstance(found, Probe) or found.problem:
            refused = refused if number else found
        elif found.is_injected or found.differences:
            return found
        else:
            without = without or found
    return without or refused


async def pod(reader: Reader, seen: Installation, name: str) -> Probe | Unseen:
    """What becomes of a pod, beside what the webhook's own code makes of it."""
    namespace = await surroundings.read_namespace(reader, name)
    if namespace.problem or namespace.annotations is None:
        return Unseen(
            namespace.problem or reader.unread.get(f"namespaces/{name}", "it was not seen")
        )
    if not isinstance(seen.cluster, ClusterPolicy):
        return Unseen(f"the configuration was not seen: {seen.cluster.why}")
    around = Surroundings(seen.cluster)
    admission = around.admission(namespace)
    requests = admission.namespace.resolution.policy.inject != "disabled"
    manifest = a_pod(annotated=not requests)
    account = await surroundings.read_account(reader, name, "default")
    expected = explanation.explain(manifest, admission, opts_out=account.opts_out)
    path = f"/api/v1/namespaces/{name}/pods"
    try:
        body = await reader.client.send("POST", path, manifest, query=DRY_RUN)
        created = decode(OBJECTS, body)
    except ApiError as problem:
        text = str(problem)
        if REFUSED.format(names.POD_POLICY) in text and not expected.validation.denial:
            return Probe(name, differences=(f"refused, though boundtoken would let it in: {text}",))
        is_forbidden = problem.status == FORBIDDEN and self_probe.NO_RIGHT in text
        return Probe(name, text, is_forbidden=is_forbidden)
    before = expected.pod.object if expected.pod is not None else {}
    has, would = _tokens(created), _tokens(before)
    differs = living.differ(has, would, ("app",))
    differences = tuple(_differences(has, would)) if differs else ()
    ours = any(token.kind in (living.OF_OURS, living.FURTHER) for token in has.tokens)
    return Probe(name, "", expected.mutation.reason, ours or bool(has.status), differences)


def _tokens(document: JsonObject) -> Tokens:
    try:
        return living.tokens_of(msgspec.convert(document, FullPod))
    except msgspec.ValidationError:
        return Tokens("", ())


def _differences(has: Tokens, would: Tokens) -> Iterator[str]:
    yield f"it has {_told(has.tokens)}"
    yield f"and would have {_told(would.tokens)}"


def _told(tokens: tuple[Token, ...]) -> str:
    """The files with their seconds, as far as they are compared."""
    texts = [f"{one.volume}/{one.file} of {one.seconds} s" for one in tokens if one.kind]
    return ", ".join(texts) or "no token"


async def governance(
    client: ApiClient, seen: Installation, name: str
) -> tuple[Governance, ...] | Unseen:
    """Requests that the configuration refuses.

    The API server issues a token in a dry run as well. So the request is bound to a pod that does
    not exist: whoever lets it pass admission finds no pod, and issues nothing (TokenREST.Create of
    pkg/registry/core/serviceaccount/storage/token.go looks for the pod after admission).
    """
    cluster = _demanding(seen)
    if isinstance(cluster, Unseen):
        return Unseen(f"the configuration was not seen: {cluster.why}")
    base = f"/api/v1/namespaces/{name}"
    demands = ENFORCE in (cluster.token_requests, cluster.legacy_secrets)
    if demands and (whose := await _exemption(client, cluster)):
        return Unseen(f"{whose} is exempt: it can be tried by another user only")
    found = []
    maximum = cluster.token_requests_max_expiration_seconds
    if cluster.token_requests == ENFORCE and maximum < MAX_SECONDS:
        bound = {"apiVersion": "v1", "kind": "Pod", "name": ABSENT}
        spec = {"expirationSeconds": MAX_SECONDS, "boundObjectRef": bound}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path, what = f"{base}/serviceaccounts/default/token", "a token of 136 years"
        found.append(await _refused(client, path, body, names.TOKEN_REQUEST_POLICY, what))
    if cluster.legacy_secrets == ENFORCE:
        account = {token_requests.ACCOUNT_ANNOTATIONS[0]: "default"}
        metadata = {"generateName": NAME, "annotations": account}
        body = {"metadata": metadata, "type": names.LEGACY_TOKEN_TYPE}
        what = "a Secret with a legacy token"
        found.append(
            await _refused(client, f"{base}/secrets", body, names.LEGACY_SECRET_POLICY, what)
        )
    return tuple(found)


def _demanding(seen: Installation) -> ClusterPolicy | Unseen:
    """What is to be refused: as the ConfigMap has it, also where no replica has read that."""
    if isinstance(seen.file, ConfigurationFile) and seen.file.policy is not None:
        return seen.file.policy
    return seen.cluster


class _Review(View, frozen=True):
    """A SelfSubjectReview."""

    class Status(View, frozen=True):
        user_info: UserInfo = UserInfo()

    status: Status = Status()


_REVIEW = msgspec.json.Decoder(_Review)


async def _exemption(client: ApiClient, cluster: ClusterPolicy) -> str:
    """Who looks, where no rule is for them; empty where they are not exempt, or where it was not
    seen.
    """
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        user = decode(_REVIEW, await client.send("POST", path, body)).status.user_info
    except ApiError:
        return ""
    is_exempt = (
        bool(validate.exempt_requester(user.username, cluster))
        or token_requests.is_control_plane(user)
        or token_requests.is_node(user)
    )
    return quote(user.username) if is_exempt else ""


async def _refused(
    client: ApiClient, path: str, body: JsonObject, policy_name: str, what: str
) -> Governance:
    try:
        await client.send("POST", path, body, query=DRY_RUN)
    except ApiError as problem:
        text = str(problem)
        if REFUSED.format(policy_name) in text:
            return Governance(what, is_refused=True)
        if DENIED.search(text):
            return Governance(what, by_webhook=True)
        if problem.status == 404 and ABSENT in text:  # noqa: PLR2004
            return Governance(what)
        if problem.status == FORBIDDEN and self_probe.NO_RIGHT in text:
            resource = "/".join(path.split("/")[5:6] + path.split("/")[7:8])
            return Governance(what, problem=f"needs create on {resource}, also for a dry run")
        return Governance(what, problem=truncate(text))
    return Governance(what)


async def year(client: ApiClient, seen: Installation) -> int | Unseen:
    """How long a token really lives that was requested for 3607 s, bound to a replica. It is
    forgotten at once.
    """
    if not isinstance(seen.replicas, tuple) or not seen.replicas:
        return Unseen("it needs a replica, to which the token is bound")
    bound = {"apiVersion": "v1", "kind": "Pod", "name": seen.replicas[0].name}
    spec = {"expirationSeconds": names.YEAR_TRAP_SECONDS, "boundObjectRef": bound}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{seen.own}/serviceaccounts/{names.APP}/token"
    try:
        answer = decode(OBJECTS, await client.send("POST", path, body))
        claims = claims_of(str(explanation.member(answer, "status").get("token", "")))
    except ApiError as problem:
        return Unseen(truncate(str(problem)))
    except ValueError:
        return Unseen("the token that was issued cannot be read")
    if claims.expires_at is None or claims.issued_at is None:
        return Unseen("the token that was issued does not say how long it is valid")
    return round(claims.expires_at - claims.issued_at)
