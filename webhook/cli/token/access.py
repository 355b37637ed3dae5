"""The API server and the namespace that a command of `boundtoken token` works with."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...cluster.credentials import FromKubeconfig, InCluster
from ...tokens import ApiServer, TokenFile

DEFAULT_NAMESPACE = "default"


class Access(NamedTuple):
    """The API server with somebody's credentials, and the namespace to work in."""

    server: ApiServer
    namespace: str
    credentials: FromKubeconfig | InCluster


def access(parsed: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Access:
    """What the flags choose, as kubectl does: --kubeconfig, KUBECONFIG, ~/.kube/config, and without
    any of them the files of this pod.

    Raises: Unauthenticated; Unreadable, in a pod without a file for its namespace
    """
    credentials: FromKubeconfig | InCluster
    if _is_in_a_pod_without_kubeconfig(parsed, environ):
        credentials = InCluster(environ)
        namespace = TokenFile().namespace
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
