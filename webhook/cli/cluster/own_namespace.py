"""Where boundtoken is installed: what its webhook configurations call, and where none of them is
left, its Deployment.
"""

from collections.abc import Iterable, Mapping

from ...checks.deployment import may_be_ours
from ...checks.objects import Deployment
from ...cluster.client import ApiClient
from ...core import names
from ...errors import BadInput
from ...simulation.calling import Configuration
from .kinds import OBJECT_NAME
from .reader import Reader

GROUP = "/apis/admissionregistration.k8s.io/v1"
KINDS = {
    "mutatingwebhookconfigurations": "mutatingwebhookconfiguration",
    "validatingwebhookconfigurations": "validatingwebhookconfiguration",
}
Found = Mapping[str, tuple[Configuration, ...] | None]
"""The webhook configurations by resource, None for those that were not seen."""
NONE = (
    "boundtoken was not found in this cluster: no webhook configuration calls it, and there is no "
    "Deployment of it; install it, or name its namespace with --namespace"
)


async def configurations(reader: Reader, resources: Iterable[str] = KINDS) -> Found:
    """The webhook configurations of these resources."""
    found: dict[str, tuple[Configuration, ...] | None] = {}
    for resource in resources:
        listed = await reader.list(f"{GROUP}/{resource}", Configuration, resource)
        found[resource] = None if listed is None else tuple(listed)
    return found


def called(found: Found) -> list[str]:
    """The namespaces of the Services that our entries call. Any text may stand there, and paths
    are made of it: what is no name is left out.
    """
    services = (
        entry.client_config.service
        for group in found.values()
        for configuration in group or ()
        for entry in configuration.webhooks or ()
        if entry.is_ours
    )
    return sorted(
        {one.namespace for one in services if one and OBJECT_NAME.fullmatch(one.namespace)}
    )


async def candidates(reader: Reader, found: Found) -> list[str]:
    """The namespaces in which it may be; the usual one where that could not be seen.

    Who may write webhook configurations decides what is called. Anybody may have a Deployment like
    ours: it counts only where no configuration is left, and the usual namespace goes first.
    """
    if namespaces := called(found):
        return namespaces
    if None in found.values():
        return [names.NAMESPACE]
    query = {"labelSelector": f"app.kubernetes.io/name={names.APP}"}
    listed = await reader.list("/apis/apps/v1/deployments", Deployment, "deployments", query)
    if listed is None:
        return [names.NAMESPACE]
    named = (one for one in listed if one.metadata.name == names.APP)
    found_in = {one.metadata.namespace for one in named if may_be_ours(one)}
    return [names.NAMESPACE] if names.NAMESPACE in found_in else sorted(found_in)


async def find(
    client: ApiClient, given: str | None, *, default: str = "", writes: bool = False
) -> str:
    """The namespace that was given, else the one where boundtoken is installed, else the default.
    Who `writes` into it takes no Deployment for a sign, and the usual namespace instead.

    Raises: BadInput, where it is installed nowhere and there is no default, or maybe in several
    """
    if given:
        return given
    reader = Reader(client)
    seen = await configurations(reader)
    found = called(seen) or [names.NAMESPACE] if writes else await candidates(reader, seen)
    if not found and not default:
        raise BadInput(NONE)
    if len(found) > 1:
        where = ", ".join(found)
        text = f"boundtoken may be installed in several namespaces ({where}): name one with --namespace"
        raise BadInput(text)
    return found[0] if found else default
