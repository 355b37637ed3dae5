"""Reads what the checks before an installation judge."""

import asyncio
import re

import msgspec

from ... import __version__
from ...checks import before
from ...checks.facts import Installation, Right, Server
from ...checks.model import Unseen
from ...checks.objects import Annotated, NetworkPolicy
from ...cluster.client import ApiClient, decode
from ...core import names
from ...core.text import truncate
from ...core.views import View
from ...errors import ApiError, NotFound
from ..cluster.own_namespace import GROUP, configurations
from ..cluster.reader import Reader
from .reading import installations, metrics_of_server

AT_ONCE = 8
"""Questions about rights that are sent at the same time."""
GATE = re.compile(r'^kubernetes_feature_enabled\{name="(\w+)"[^}]*\} ([01])$', re.MULTILINE)
SELF_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Resource(View, frozen=True):
    name: str = ""


class Resources(View, frozen=True):
    """What a group serves, as discovery has it."""

    resources: tuple[Resource, ...] | None = None


class ReviewStatus(View, frozen=True):
    allowed: bool = False


class AccessReview(View, frozen=True):
    """The answer to a question about a right."""

    status: ReviewStatus = ReviewStatus()


REVIEW = msgspec.json.Decoder(AccessReview)


async def read(reader: Reader, own: str | None, known: Server | Unseen) -> Installation:
    """What is there before an installation."""
    client = reader.client
    namespace = own or names.NAMESPACE
    seen = Installation(__version__, client.now(), namespace, known)
    for resource, found in (await configurations(reader)).items():
        part = Unseen(reader.unread[resource]) if found is None else found
        seen.configurations = {**seen.configurations, resource: part}
    seen.installations = await installations(reader)
    seen.may = await _rights(client, namespace)
    seen.served = await _served(reader)
    text = await metrics_of_server(client)
    seen.gates = (
        text if isinstance(text, Unseen) else {name: on == "1" for name, on in GATE.findall(text)}
    )
    try:
        found_one = await reader.get(f"/api/v1/namespaces/{namespace}", Annotated, "namespaces")
        seen.namespace = found_one or Unseen(reader.unread.get("namespaces", "it was not seen"))
    except NotFound:
        seen.namespace = None
    path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    what = f"networkpolicies in {namespace}"
    policies = await reader.list(path, NetworkPolicy, what)
    seen.network_policies = Unseen(reader.unread[what]) if policies is None else tuple(policies)
    return seen


async def _rights(client: ApiClient, own: str) -> dict[Right, bool] | Unseen:
    """Whether the person who looks has each right that is needed."""
    rights = (*before.to_install(own), before.ESCALATE, *before.to_grant(own))
    gate = asyncio.Semaphore(AT_ONCE)

    async def may(right: Right) -> bool:
        attributes = {
            "verb": right.verb,
            "group": right.group,
            "resource": right.resource,
            "name": right.name,
            "namespace": right.namespace,
        }
        async with gate:
            body = {"spec": {"resourceAttributes": attributes}}
            return decode(REVIEW, await client.send("POST", SELF_REVIEWS, body)).status.allowed

    try:
        answers = await asyncio.gather(*map(may, rights))
    except ApiError as problem:
        return Unseen(truncate(str(problem)))
    return dict(zip(rights, answers, strict=True))


async def _served(reader: Reader) -> frozenset[str] | Unseen:
    what = "the resources of admissionregistration.k8s.io/v1"
    try:
        found = await reader.get(GROUP, Resources, what)
    except NotFound:
        return frozenset()
    if found is None:
        return Unseen(reader.unread[what])
    return frozenset(one.name for one in found.resources or ())
