"""Where boundtoken is installed: what its webhook configurations call, and where none of them is
left, the service account that its ClusterRoleBinding names. Both are objects of the cluster, which
who may only write in a namespace cannot make.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from ...cluster.client import ApiClient
from ...core import names
from ...core.views import View
from ...errors import BadInput, NotFound
from ...simulation.calling import Configuration
from .kinds import OBJECT_NAME
from .reader import Reader

GROUP = "/apis/admissionregistration.k8s.io/v1"
BINDING = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{names.APP}"
KINDS = {
    "mutatingwebhookconfigurations": "mutatingwebhookconfiguration",
    "validatingwebhookconfigurations": "validatingwebhookconfiguration",
}
Found = Mapping[str, tuple[Configuration, ...] | None]
"""The webhook configurations by resource, None for those that were not seen."""
NONE = (
    "boundtoken was not found in this cluster: no webhook configuration calls it, and no "
    "ClusterRoleBinding names its service account; install it, or name its namespace with --namespace"
)


class _Subject(View, frozen=True):
    kind: str = ""
    name: str = ""
    namespace: str = ""


class _Binding(View, frozen=True):
    subjects: tuple[_Subject, ...] | None = None


async def configurations(reader: Reader, resources: Iterable[str] = KINDS) -> Found:
    """The webhook configurations of these resources."""
    found: dict[str, tuple[Configuration, ...] | None] = {}
    for resource in resources:
        listed = await reader.list(f"{GROUP}/{resource}", Configuration, resource)
        found[resource] = None if listed is None else tuple(listed)
    return found


def called(found: Found) -> list[str]:
    """The namespaces of the Services that our entries call, that of most entries first. Any text
    may stand there, and paths are made of it: what is no name is left out.
    """
    services = [
        entry.client_config.service
        for group in found.values()
        for configuration in group or ()
        for entry in configuration.webhooks or ()
        if entry.is_ours
    ]
    return _most_first(one.namespace for one in services if one)


async def candidates(reader: Reader, found: Found) -> list[str]:
    """The namespaces in which it may be, the likeliest first; the usual one where that could not be
    seen. A Deployment like ours is no sign: anybody may have one.
    """
    if namespaces := called(found):
        return namespaces
    if None in found.values():
        return [names.NAMESPACE]
    try:
        binding = await reader.get(BINDING, _Binding, "clusterrolebindings")
    except NotFound:
        return []
    if binding is None:
        return [names.NAMESPACE]
    return _most_first(
        one.namespace
        for one in binding.subjects or ()
        if (one.kind, one.name) == ("ServiceAccount", names.APP)
    )


def _most_first(namespaces: Iterable[str]) -> list[str]:
    counted = Counter(filter(OBJECT_NAME.fullmatch, namespaces))
    return sorted(counted, key=lambda name: (-counted[name], name))


async def find(client: ApiClient, given: str | None, *, default: str = "") -> str:
    """The namespace that was given, else the one where boundtoken is installed, else the default.

    Raises: BadInput, where it is installed nowhere and there is no default, or maybe in several
    """
    if given:
        return given
    reader = Reader(client)
    found = await candidates(reader, await configurations(reader))
    if not found and not default:
        raise BadInput(NONE)
    if len(found) > 1:
        where = ", ".join(found)
        text = f"boundtoken may be installed in several namespaces ({where}): name one with --namespace"
        raise BadInput(text)
    return found[0] if found else default
