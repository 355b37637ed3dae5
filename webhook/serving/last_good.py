"""The last good configuration, which the replicas keep in the policy binding for pods
(`policy_bindings`): a replica that starts under a bad configuration file takes it.

It is read only then, so that a usual start needs no call. Why in the binding: the replicas may
write there already, and it goes with the installation.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from .. import __version__, cluster_config, documents
from ..cluster.client import METADATA, ApiClient, decode
from ..cluster.credentials import SERVICE_ACCOUNT, InCluster, credentials_for
from ..cluster.watch import ObjectMeta
from ..core import names, policy
from ..enforcement.policies import bindings
from ..errors import ApiError, BadInput, Unauthenticated
from ..log import Log
from ..options import Config
from .policy_bindings import PATH

SECONDS = 10.0
"""For the call. The kubelet starts an ended process again, which asks again."""


class _Binding(msgspec.Struct):
    metadata: ObjectMeta


_BINDING = msgspec.json.Decoder(_Binding)


async def last_good_for(
    config: Config, environ: Mapping[str, str], log: Log, account: Path = SERVICE_ACCOUNT
) -> str:
    """The text of the last good configuration for a replica in the cluster whose file has faults;
    empty if the file is good, or none is kept. A failure is logged.

    Raises: Unauthenticated, if there are no credentials
    """
    if config.standalone or config.config is None or _is_good(config.config):
        return ""
    credentials = credentials_for(config.kubeconfig, config.context, environ, account)
    if not isinstance(credentials, InCluster):
        return ""
    async with ApiClient(credentials, f"boundtoken/{__version__}") as client:
        try:
            return await read(client)
        except (ApiError, BadInput, Unauthenticated) as problem:
            log.warning("no last good configuration", problem=str(problem))
            return ""


async def read(client: ApiClient) -> str:
    """The text that the binding keeps, if it is a configuration that this release can use; empty if
    it keeps none.

    Raises: ApiError; Unauthenticated; BadInput, if this release rejects it
    """
    body = await client.get(f"{PATH}/{names.POD_POLICY}", accept=METADATA, seconds=SECONDS)
    annotations = decode(_BINDING, body).metadata.annotations
    text = bindings.last_good(policy.own_annotations(annotations))
    if text:
        cluster_config.parse(text)
    return text


def _is_good(path: Path) -> bool:
    try:
        cluster_config.parse(documents.read(path, cluster_config.MAX_BYTES))
    except BadInput:
        return False
    return True
