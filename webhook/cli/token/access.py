"""The API server and the namespace that a command of `boundtoken token` works with."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...cluster.credentials import SERVICE_ACCOUNT, FromKubeconfig, InCluster
from ...errors import Unauthenticated
from ...tokens import ApiServer

DEFAULT_NAMESPACE = "default"


class Access(NamedTuple):
    """The API server with somebody's credentials, and the namespace to work in."""

    server: ApiServer
    namespace: str
    credentials: FromKubeconfig | InCluster


def access(parsed: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Access:
    """What the flags choose, as kubectl does: --kubeconfig, KUBECONFIG, ~/.kube/config, and without
    any of them the files of this pod.

    Raises: Unauthenticated
    """
    credentials: FromKubeconfig | InCluster
    if _is_in_a_pod_without_kubeconfig(parsed, environ):
        credentials = InCluster(environ)
        namespace = _namespace_of_the_pod()
    else:
        credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
        namespace = credentials.namespace
    chosen = parsed.namespace or namespace or DEFAULT_NAMESPACE
    return Access(ApiServer(credentials), chosen, credentials)


def _is_in_a_pod_without_kubeconfig(parsed: argparse.Namespace, environ: Mapping[str, str]) -> bool:
    has_kubeconfig = (
        parsed.kubeconfig
        or parsed.context
        or environ.get("KUBECONFIG")
        or (Path.home() / ".kube/config").exists()
    )
    return not has_kubeconfig and "KUBERNETES_SERVICE_HOST" in environ


def _namespace_of_the_pod() -> str:
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except (OSError, ValueError) as problem:
        raise Unauthenticated(
            f"{SERVICE_ACCOUNT / 'namespace'}: {problem}; give --namespace"
        ) from None
