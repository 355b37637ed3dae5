"""The address of the API server and our credentials, from a pod's files or from a kubeconfig. It
makes no call.

Files are read again for each request, because the kubelet rotates the token. The `kubernetes`
package is imported only to read a kubeconfig: with it the process takes twice as long to start and
20 MB more.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import yaml

from ..core.claims import TOKEN_TEXT, audiences_of
from ..core.names import DEFAULT_PATH
from ..errors import Unauthenticated, missing_package
from ..log import Log

SERVICE_ACCOUNT = Path(DEFAULT_PATH)
MAX_FILE_BYTES = 1 << 20
"""Of a token or a bundle of CAs: as much as a ConfigMap can hold. The rest is not read."""
IMPERSONATION = ("as", "as-uid", "as-groups", "as-user-extra")
"""Fields of a kubeconfig's user that make it act as another one; the `kubernetes` package drops
them."""
REREAD_SECONDS = 60.0
"""Between two readings of a kubeconfig by a process that runs for long, as of a token file."""


class ClusterAddress(NamedTuple):
    """How a client reaches an API server. `authority` is the PEM of the CA, empty where the
    system's authorities vouch for it; `name` is what people call the cluster.
    """

    name: str
    server: str
    authority: bytes = b""
    tls_server_name: str = ""
    proxy: str = ""
    is_verified: bool = True


class Credentials(Protocol):
    """What a client needs: `server` is a URL without a trailing slash."""

    server: str

    def tls(self) -> ssl.SSLContext | bool:
        """The context that verifies the server; True for the system's authorities."""
        ...

    async def authorization(self) -> str | None:
        """The Authorization header of the next request; None with a client certificate."""
        ...


DEFAULT_KUBECONFIG = "~/.kube/config"
IN_CLUSTER = "in-cluster"
"""The name of a pod's cluster, which has none."""


class InCluster:
    """The pod's own token and the cluster's CA, from files that the kubelet keeps up to date.

    Raises: Unauthenticated, where a pod's variables or files are missing
    """

    def __init__(self, environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> None:
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            raise Unauthenticated("KUBERNETES_SERVICE_HOST and _PORT are not set: not in a cluster")
        self.server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        self._token = directory / "token"
        self._ca = directory / "ca.crt"
        self._trusted: tuple[bytes, ssl.SSLContext] | None = None

    def tls(self) -> ssl.SSLContext:
        """A context that trusts the present `ca.crt`; a new one only when its content changes."""
        pem = self._read(self._ca)
        if self._trusted is None or self._trusted[0] != pem:
            try:
                # Without cadata it would trust the system's authorities as well. Comments between
                # the certificates may be in any language.
                context = ssl.create_default_context(cadata=pem.decode("ascii", "ignore") or "-")
            except (ssl.SSLError, ValueError) as problem:
                raise Unauthenticated(f"{self._ca}: must hold PEM certificates") from problem
            self._trusted = (pem, context)
        return self._trusted[1]

    def address(self) -> ClusterAddress:
        """How others reach the same API server from this pod. Raises: Unauthenticated"""
        return ClusterAddress(IN_CLUSTER, self.server, self._read(self._ca))

    def header(self) -> str:
        """The Authorization header of the next request."""
        return f"Bearer {self._text()}"

    async def authorization(self) -> str:
        return self.header()

    def audiences(self) -> tuple[str, ...]:
        """The `aud` claim of our own token: the API server's own audiences, if our volume names no
        other.
        """
        return audiences_of(self._text())

    def _text(self) -> str:
        token = self._read(self._token).strip().decode("latin-1")
        if not TOKEN_TEXT.fullmatch(token):
            raise Unauthenticated(
                f"{self._token}: must hold a token, which is printable ASCII without whitespace"
            )
        return token

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except OSError as problem:
            raise Unauthenticated(
                f"{path}: {problem.strerror}; the pod needs a token volume there"
            ) from problem


class FromKubeconfig:
    """A context of a kubeconfig, read by the `kubernetes` package: client certificate, token or
    exec plugin. `context` is its name, `namespace` the one that it chooses, or empty.

    Raises: Unauthenticated, where the file or the context cannot be used
    """

    def __init__(self, file: str | None = None, context: str | None = None) -> None:
        try:
            import kubernetes.client  # noqa: PLC0415  (see the module's docstring)
            import kubernetes.config  # noqa: PLC0415
        except ModuleNotFoundError as problem:
            raise Unauthenticated(f"to read a kubeconfig {missing_package(problem)}") from problem

        self._tls: ssl.SSLContext | None = None
        self._configuration: Any = kubernetes.client.Configuration()
        # An empty KUBECONFIG is none, as for kubectl.
        place = _without_empty(
            file or kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION or DEFAULT_KUBECONFIG
        )
        try:
            chosen, user = _chosen(place, context)
            with _root_errors() as reasons:
                kubernetes.config.load_kube_config(
                    place, context, self._configuration, persist_config=False
                )  # type: ignore[no-untyped-call]
            self._check_plugin(user, reasons)
        except (
            kubernetes.config.ConfigException,
            yaml.YAMLError,
            OSError,
            ValueError,
            TypeError,
            AttributeError,
            KeyError,
        ) as problem:
            text = " ".join(str(problem).split())  # one line of what yaml says in four
            if isinstance(problem, TypeError | AttributeError):  # of another shape than it must be
                text = "must be a kubeconfig, a map with clusters, users and contexts"
            raise Unauthenticated(f"kubeconfig {place}: {text[:300]}") from problem
        self.server = str(self._configuration.host).rstrip("/")
        self.context = str(chosen["name"])
        self.namespace = str(chosen["context"].get("namespace") or "")
        self._cluster = str(chosen["context"]["cluster"])

    def _check_plugin(self, user: Mapping[str, Any], reasons: list[str]) -> None:
        """Raises: ValueError, where an exec plugin gave nothing: the package logs why, and goes on
        without credentials
        """
        has_credential = self._configuration.api_key or self._configuration.cert_file
        if "exec" in user and not has_credential:
            why = "; ".join(reasons) or "no reason is known"
            raise ValueError(f"the exec plugin {user['exec'].get('command')} failed: {why}")

    def address(self) -> ClusterAddress:
        """How others reach the same API server. Raises: Unauthenticated"""
        configuration = self._configuration
        authority = b""
        if configuration.ssl_ca_cert:
            try:
                with Path(configuration.ssl_ca_cert).open("rb") as file:
                    authority = file.read(MAX_FILE_BYTES)
            except OSError as problem:
                raise Unauthenticated(
                    f"{configuration.ssl_ca_cert}: {problem.strerror}"
                ) from problem
        return ClusterAddress(
            self._cluster,
            self.server,
            authority,
            str(configuration.tls_server_name or ""),
            str(configuration.proxy or ""),
            bool(configuration.verify_ssl),
        )

    def tls(self) -> ssl.SSLContext:
        """The same context for all requests, so that connections are reused."""
        if self._tls is None:
            configuration = self._configuration
            self._tls = tls_context(
                str(configuration.tls_server_name or ""), configuration.ssl_ca_cert
            )
            if not configuration.verify_ssl:
                self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
            if configuration.cert_file:
                self._tls.load_cert_chain(configuration.cert_file, configuration.key_file)
        return self._tls

    def header(self) -> str | None:
        """The token of the context; an exec plugin may be slow. The name of the key changed in
        version 36 of the package.
        """
        value = self._configuration.get_api_key_with_prefix("BearerToken", "authorization")
        return str(value).strip() if value else None  # a token file may end in a newline

    async def authorization(self) -> str | None:
        """The same, in a thread."""
        return await asyncio.to_thread(self.header)


class _NamedContext(ssl.SSLContext):
    """A context for a server whose certificate has another name than its URL.

    Why here: each client takes a context, and none of them such a name.
    """

    name: str

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(sock, *arguments, **{**options, "server_hostname": self.name})

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        return super().wrap_bio(*arguments, **{**options, "server_hostname": self.name})


def tls_context(name: str = "", cafile: str | None = None, cadata: str = "") -> ssl.SSLContext:
    """A context that verifies an API server by these authorities, without any by the system's; its
    certificate must have `name` (`tls-server-name`), or that of its URL.
    """
    if not name:
        return ssl.create_default_context(cafile=cafile, cadata=cadata or None)
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.name = name
    if cafile or cadata:
        context.load_verify_locations(cafile=cafile, cadata=cadata or None)
    else:
        context.load_default_certs()
    return context


def _without_empty(place: str) -> str:
    """The files without those that are empty, which kubectl reads as no contexts and the package
    refuses; all of them, where no other is left.
    """
    paths = place.split(os.pathsep)
    found = [path for path in paths if not path or not _is_empty(Path(path).expanduser())]
    return os.pathsep.join(found) if any(found) else place


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.stat().st_size


def _chosen(place: str, name: str | None) -> tuple[Any, Mapping[str, Any]]:
    """The context of this name, or the current one, which need not be there with a name; and its
    user, empty where it names none.

    Raises: ValueError, in words that say what to do, for what people get wrong most
    """
    import kubernetes.config  # noqa: PLC0415

    reading: Any = kubernetes.config.kube_config
    files = [Path(part).expanduser() for part in place.split(os.pathsep) if part]
    if not any(file.exists() for file in files):
        raise ValueError("there is no such file; give --kubeconfig FILE, or set KUBECONFIG")
    merged = reading.KubeConfigMerger(place).config
    if name is not None:
        names = [str(context["name"]) for context in merged.value.get("contexts") or ()]
        if name not in names:
            raise ValueError(f"there is no context {name!a}, only: {', '.join(names) or 'none'}")
    context = reading.KubeConfigLoader(merged, active_context=name).current_context
    user_name = context["context"].get("user")
    if not user_name:
        return context, {}
    found = [user["user"] for user in merged.value.get("users") or () if user["name"] == user_name]
    if not found:
        raise ValueError(f"context {context['name']!a}: there is no user {user_name!a}")
    user: Mapping[str, Any] = getattr(found[0], "value", found[0]) or {}
    # Without it the request would have the user's own rights, which mostly are more.
    if others := [field for field in IMPERSONATION if user.get(field)]:
        raise ValueError(
            f"user {user_name!a} acts as somebody else ({', '.join(others)}), which boundtoken does not do; "
            "choose a context with another user"
        )
    return context, user


@contextlib.contextmanager
def _root_errors() -> Iterator[list[str]]:
    """What is logged to nobody in particular meanwhile, instead of on standard error."""
    reasons: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: reasons.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield reasons
    finally:
        logging.getLogger().removeHandler(handler)


class ReadAgain:
    """`FromKubeconfig` for a process that runs for long: it is read again once a minute when
    there is a request to make, because `kubernetes` reads a token file once.

    Where it cannot be read then, what it held before is used.

    Raises: Unauthenticated
    """

    def __init__(
        self,
        file: str | None = None,
        context: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._arguments = (file, context)
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = clock()
        self._last = FromKubeconfig(file, context)
        self.server = self._last.server
        self.namespace = self._last.namespace

    def tls(self) -> ssl.SSLContext:
        return self._now().tls()

    def header(self) -> str | None:
        return self._now().header()

    def address(self) -> ClusterAddress:
        """How others reach the API server, by what was read last: reading the kubeconfig may start
        an exec plugin. Raises: Unauthenticated
        """
        return self._last.address()

    def _now(self) -> FromKubeconfig:
        with self._lock:
            if self._clock() - self._read_at >= REREAD_SECONDS:
                self._read_at = self._clock()
                with contextlib.suppress(Unauthenticated):
                    self._last = FromKubeconfig(*self._arguments)
                    self.server = self._last.server
            return self._last


def credentials_for(
    kubeconfig: Path | None, context: str | None, environ: Mapping[str, str], account: Path
) -> Credentials:
    """The credentials of a kubeconfig, or without one those of the pod.

    Raises: Unauthenticated
    """
    if kubeconfig is not None:
        return FromKubeconfig(str(kubeconfig), context)
    try:
        return InCluster(environ, account)
    except Unauthenticated as problem:
        raise Unauthenticated(f"{problem}; give --kubeconfig FILE") from None


def own_audiences(credentials: Credentials | None, log: Log) -> tuple[str, ...]:
    """The audiences of a pod's own token; empty for other credentials, and for a token that cannot
    be read, which is logged.
    """
    try:
        return credentials.audiences() if isinstance(credentials, InCluster) else ()
    except Unauthenticated as problem:
        log.warning("cannot read own service account token", problem=str(problem))
        return ()
