"""A kubeconfig for a service account. Pure.

Source: k8s.io/client-go/tools/clientcmd/api/v1/types.go.
"""

import base64
from collections.abc import Sequence
from typing import Any

from ...cluster.credentials import ClusterAddress
from .create import NewToken
from .exec_credential import API_VERSION

INSTALL_HINT = (
    "boundtoken is not where this kubeconfig says: install it, "
    "and make the kubeconfig anew with `boundtoken token kubeconfig`."
)


def kubeconfig(address: ClusterAddress, new: NewToken, user: dict[str, Any]) -> dict[str, Any]:
    """The file, as one object: one cluster, one user, one context, which is the current one.

    Names have the cluster's in them, so that files of several clusters can be merged.
    """
    name = f"{new}@{address.name}"
    context = {"cluster": address.name, "user": name, "namespace": new.namespace}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": address.name, "cluster": _cluster(address)}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }


def exec_user(command: Sequence[str]) -> dict[str, Any]:
    """A user whose token a command gives, each time that it is needed."""
    return {
        "exec": {
            "apiVersion": API_VERSION,
            "command": command[0],
            "args": list(command[1:]),
            "interactiveMode": "Never",
            "provideClusterInfo": True,
            "installHint": INSTALL_HINT,
        }
    }


def authority_data(address: ClusterAddress) -> str:
    """The CA as a kubeconfig, and KUBERNETES_EXEC_INFO, have it; empty for the system's."""
    return base64.b64encode(address.authority).decode()


def _cluster(address: ClusterAddress) -> dict[str, Any]:
    found = {
        "server": address.server,
        "certificate-authority-data": authority_data(address) if address.is_verified else "",
        "tls-server-name": address.tls_server_name,
        "proxy-url": address.proxy,
        "insecure-skip-tls-verify": not address.is_verified,
    }
    return {key: value for key, value in found.items() if value}
