"""Whose credentials a command of `boundtoken token` uses, by its flags and variables alone: nothing
is read, and nothing imported that costs time.
"""

import argparse
import os
from collections.abc import Mapping

# os.path throughout: Path raises for a user without a home, such as a container's.
# ruff: noqa: PTH100, PTH110, PTH111

DEFAULT_KUBECONFIG = "~/.kube/config"


def is_in_cluster(parsed: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether they are those of this pod rather than those of a kubeconfig."""
    if getattr(parsed, "in_cluster", False):
        return True
    has_kubeconfig = (
        parsed.kubeconfig
        or parsed.context
        or environ.get("KUBECONFIG")
        or os.path.exists(os.path.expanduser(DEFAULT_KUBECONFIG))
    )
    return not has_kubeconfig and "KUBERNETES_SERVICE_HOST" in environ


def kubeconfig_files(
    parsed: argparse.Namespace, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """The files that kubectl would merge, as absolute paths."""
    given = parsed.kubeconfig or environ.get("KUBECONFIG") or DEFAULT_KUBECONFIG
    return [os.path.abspath(os.path.expanduser(file)) for file in given.split(os.pathsep) if file]
