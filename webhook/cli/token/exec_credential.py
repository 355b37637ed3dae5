"""`boundtoken token exec-credential`: what kubectl runs to get a token of a service account."""

import argparse
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import BadInput, Unauthenticated
from ...tokens.errors import Deleted
from ...tokens.kubectl.exec_credential import VARIABLE, ExecCluster, cluster_of, exec_credential
from ...tokens.kubectl.private_folder import PrivateFolder, Untrusted, cache_home
from ...tokens.kubectl.shared import SharedToken, Usable, calling_process
from ...tokens.request import IssuedToken
from ..process import warn
from .new import created_token, located, new_token
from .source import is_in_cluster, kubeconfig_files

FOLDERS = ("boundtoken", "tokens")
CHAIN = "BOUNDTOKEN_EXEC_CHAIN"
"""Names of the credentials that are being requested, for the exec plugins of the kubeconfigs that
they are requested with.
"""


def credential(parsed: argparse.Namespace) -> int:
    """Print an ExecCredential with a token, of the cache or new."""
    info = os.environ.get(VARIABLE, "")
    try:
        cluster = cluster_of(info) if info else None
    except ValueError as problem:
        raise BadInput(str(problem)) from None
    # By hand, a second call says nothing of the token of the first.
    usable = shared_token(parsed, cluster, calling_process() if info else "")
    print(json.dumps(exec_credential(usable.token, usable.until)))
    return 0


def shared_token(
    parsed: argparse.Namespace, cluster: ExecCluster | None, caller: str = ""
) -> Usable:
    """The token that all processes of this user share, for these flags and this cluster.

    Raises: BadInput; NoToken; Unauthenticated
    """
    new = new_token(parsed)

    def request() -> IssuedToken:
        from .access import access  # noqa: PLC0415  (half of what the command takes)

        chosen = access(parsed)
        _check_server(cluster, chosen.credentials.server)
        try:
            return created_token(chosen, located(new, parsed, chosen)).issued
        except Deleted as problem:
            if not caller:
                raise  # a person who makes a kubeconfig, and has none yet that is of no use
            gone = {
                "serviceaccounts": f"service account {chosen.namespace}/{new.account}",
                "namespaces": f"namespace {chosen.namespace}",
            }.get(problem.resource, str(new.bound_to))
            text = f"{gone} does not exist any more, and without it this kubeconfig is of no use: {problem}"
            raise Deleted(text, problem.status, problem.retry_after, problem.resource) from None

    with _folder() as folder:
        key = _key(parsed, cluster)
        token = SharedToken(folder, key, request, caller=caller, report=warn)
        with _no_circle(token.name):
            return token.get()


@contextlib.contextmanager
def _folder() -> Iterator[PrivateFolder | None]:
    """The cache of this user; None where there can be none that is private."""
    try:
        folder = PrivateFolder(cache_home(), *FOLDERS)
    except (Untrusted, OSError) as problem:
        warn(f"tokens are not cached: {problem}")
        yield None
        return
    with folder:
        yield folder


def _key(parsed: argparse.Namespace, cluster: ExecCluster | None) -> str:
    """Everything that makes tokens differ.

    It must not read the kubeconfig, which takes as long as the rest of the command. Where the flags
    leave something to it, another kubeconfig means another token.
    """
    in_cluster = is_in_cluster(parsed)
    files = [] if in_cluster else kubeconfig_files(parsed)
    is_complete = cluster is not None and parsed.namespace and parsed.context
    return json.dumps(
        {
            "account": parsed.account,
            "namespace": parsed.namespace,
            "audiences": parsed.audience,
            "duration": parsed.duration,
            "bound": [
                parsed.bound_object_kind,
                parsed.bound_object_name,
                parsed.bound_object_uid,
            ],
            "kubeconfig": None if in_cluster else files,
            "context": parsed.context,
            "stamps": [] if is_complete else [_stamp(file) for file in files],
            "server": cluster and cluster.server,
            "authority": cluster and hashlib.sha256(cluster.authority.encode()).hexdigest(),
        },
        sort_keys=True,
    )


def _stamp(file: str) -> list[int]:
    try:
        found = Path(file).stat()
    except OSError:
        return []
    return [found.st_mtime_ns, found.st_size, found.st_ino]


def _check_server(cluster: ExecCluster | None, server: str) -> None:
    """A token of one cluster must not be sent to another one. Raises: BadInput"""
    if cluster is not None and cluster.server.rstrip("/") != server.rstrip("/"):
        raise BadInput(
            f"{VARIABLE}: the client calls {cluster.server}; --context must be of the same cluster, and is of {server}"
        )


@contextlib.contextmanager
def _no_circle(name: str) -> Iterator[None]:
    """Raises: Unauthenticated, where this credential is requested in order to request itself"""
    chain = os.environ.get(CHAIN, "").split(",")
    if name in chain:
        raise Unauthenticated(
            "the context of the kubeconfig has its token from this very command: "
            "give --context, or --kubeconfig, with a user who may request tokens"
        )
    before = os.environ.get(CHAIN)
    os.environ[CHAIN] = ",".join([*chain, name])
    try:
        yield
    finally:
        os.environ.pop(CHAIN)
        os.environ.update({CHAIN: before} if before is not None else {})
