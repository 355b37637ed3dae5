"""The Secrets that the pods of a workload use, and which of them a pod has a legacy token of."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...checks.model import Unseen
from ...checks.workload import OfSecrets, Secret
from ...core import names
from ...core.views import View
from ...enforcement.facts import Facts
from ...errors import NotFound
from ...scanning.legacy import legacy_tokens
from ...scanning.views import Pod
from ..cluster.kinds import OBJECT_NAME
from ..cluster.reader import Reader

MAX_SECRETS = 32
"""That are read of one workload."""
MORE = Unseen(f"only the first {MAX_SECRETS} Secrets are read")
Secrets = Mapping[str, Secret | Unseen | None]


class _Content(View, frozen=True):
    token: str | None = None


class _TokenSecret(View, frozen=True):
    """A Secret: its type, and whether it has a token, which is never kept."""

    type: str = ""
    data: _Content | None = None


def used_by(pod: Pod) -> list[str]:
    """The names of all Secrets that a pod mounts or reads, in its order."""
    return list(dict.fromkeys(name for _, _, name in Facts(pod.as_full).secrets))


async def read(
    reader: Reader, namespace: str, uses: Iterable[str], required: set[str]
) -> dict[str, Secret | Unseen | None]:
    """Each of these Secrets. Of those that are not required, the ones that are there."""
    found: dict[str, Secret | Unseen | None] = {}
    what = f"secrets in {namespace}"
    for number, name in enumerate(uses):
        if not OBJECT_NAME.fullmatch(name):
            found[name] = None
            continue
        if number >= MAX_SECRETS:
            found[name] = MORE
            continue
        try:
            path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
            secret = await reader.get(path, _TokenSecret, what)
        except NotFound:
            if name in required:
                found[name] = None
            continue
        if secret is None:
            found[name] = Unseen(reader.unread[what])
            continue
        has_token = secret.data is not None and bool(secret.data.token)
        found[name] = Secret(secret.type == names.LEGACY_TOKEN_TYPE, has_token)
    return found


def tokens_of(pod: Pod, secrets: Secrets) -> OfSecrets:
    """The Secrets whose token a container of this pod has, or has where there is one."""
    known = {
        name
        for name, secret in secrets.items()
        if isinstance(secret, Secret) and secret.is_token and secret.has_token
    }
    unseen = {name for name, secret in secrets.items() if isinstance(secret, Unseen)}
    return OfSecrets(_in_containers(pod, known), _in_containers(pod, unseen))


def _in_containers(pod: Pod, secrets: set[str]) -> tuple[str, ...]:
    if not secrets:
        return ()
    found = (token.secret for token in legacy_tokens(pod, secrets) if token.mounts.shown)
    return tuple(dict.fromkeys(found))


def optional(template: Any) -> set[str]:
    """The Secrets that pods of this template may do without."""
    found, required, rest = set[str](), set[str](), [template]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            for key in ("secret", "secretRef", "secretKeyRef"):
                source = value.get(key)
                if isinstance(source, dict):
                    name = str(source.get("name") or source.get("secretName") or "")
                    (found if source.get("optional") is True else required).add(name)
        rest += (
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        )
    return found - required
