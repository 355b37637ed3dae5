"""The API server and the namespace that a command of `boundtoken token` works with."""

import argparse
import os
from collections.abc import Mapping
from typing import NamedTuple

from ...cluster.credentials import FromKubeconfig, InCluster
from ...tokens import ApiServer, TokenFile
from ..process import warn
from .source import is_in_cluster

DEFAULT_NAMESPACE = "default"


class Access(NamedTuple):
    """The API server with somebody's credentials, and the namespace to work in."""

    server: ApiServer
    namespace: str
    credentials: FromKubeconfig | InCluster


def access(parsed: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Access:
    """What the flags choose, as kubectl does: --kubeconfig, KUBECONFIG, ~/.kube/config, and without
    any of them the files of this pod. Warnings of the API server go to standard error.

    Raises: Unauthenticated; Unreadable, in a pod without a file for its namespace
    """
    credentials: FromKubeconfig | InCluster
    if is_in_cluster(parsed, environ):
        credentials = InCluster(environ)
        namespace = parsed.namespace or TokenFile().namespace
    else:
        credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
        namespace = credentials.namespace
    chosen = parsed.namespace or namespace or DEFAULT_NAMESPACE
    return Access(ApiServer(credentials, on_warning=warn), chosen, credentials)
