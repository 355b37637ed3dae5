"""Where the API server is and how we prove who we are, from a pod's files or from a kubeconfig;
never makes a call.

Files are read again for each request, because the kubelet rotates the token. The `kubernetes`
package is imported only where a kubeconfig is read: with it the process would start in twice the
time and hold 20 MB more.
"""

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import yaml

from ..errors import Unauthenticated
from ..log import Log

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MAX_FILE_BYTES = 1 << 20
"""Of a token or a bundle of CAs: what a ConfigMap can hold; what comes after it is not read."""
_TOKEN = re.compile(rb"[!-~]+")  # anything else would break the header that it stands in


class Credentials(Protocol):
    """What a client needs: `server` is a URL without a trailing slash."""

    server: str

    def tls(self) -> ssl.SSLContext | bool:
        """What the connection is verified by; True for the system's authorities."""
        ...

    async def authorization(self) -> str | None:
        """The value of the Authorization header for the next request; None where a client
        certificate speaks.
        """
        ...


class InCluster:
    """The pod's own token and the cluster's CA, from the files that the kubelet keeps fresh.

    Raises: Unauthenticated, where the variables or files of a pod are missing
    """

    def __init__(self, environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> None:
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            raise Unauthenticated(
                "KUBERNETES_SERVICE_HOST and _PORT are not set: not in a cluster; give --kubeconfig FILE"
            )
        self.server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        self._token = directory / "token"
        self._ca = directory / "ca.crt"
        self._trusted: tuple[bytes, ssl.SSLContext] | None = None

    def tls(self) -> ssl.SSLContext:
        """A context that trusts `ca.crt` as it is now; the same one until the file's content
        changes.
        """
        pem = self._read(self._ca)
        if self._trusted is None or self._trusted[0] != pem:
            context = ssl.create_default_context()
            try:
                context.load_verify_locations(
                    cadata=pem.decode("ascii", "ignore")
                )  # comments may be in any language
            except (ssl.SSLError, ValueError) as problem:
                raise Unauthenticated(f"{self._ca}: must hold PEM certificates") from problem
            self._trusted = (pem, context)
        return self._trusted[1]

    async def authorization(self) -> str:
        return f"Bearer {self._text()}"

    def audiences(self) -> tuple[str, ...]:
        """The `aud` claim of our own token: the API server's own audiences, where our volume names
        no other.
        """
        return audiences_of(self._text())

    def _text(self) -> str:
        held = self._read(self._token).strip()
        if not _TOKEN.fullmatch(held):
            raise Unauthenticated(
                f"{self._token}: must hold a token, which is printable ASCII without blanks"
            )
        return held.decode("ascii")

    def _read(self, path: Path) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except OSError as problem:
            raise Unauthenticated(
                f"{path}: {problem.strerror}; the pod needs a token volume there"
            ) from problem


class FromKubeconfig:
    """A context of a kubeconfig, read by the `kubernetes` package: client certificates, tokens,
    exec plugins.

    Raises: Unauthenticated, where the file or the context cannot be used
    """

    def __init__(self, file: str | None = None, context: str | None = None) -> None:
        import kubernetes.client  # noqa: PLC0415  (see the module's docstring)
        import kubernetes.config  # noqa: PLC0415

        self._context: ssl.SSLContext | None = None
        self._configuration: Any = kubernetes.client.Configuration()
        try:
            kubernetes.config.load_kube_config(
                file, context, self._configuration, persist_config=False
            )  # type: ignore[no-untyped-call]
        except (
            kubernetes.config.ConfigException,
            yaml.YAMLError,
            OSError,
            ValueError,
            TypeError,
            AttributeError,
            KeyError,
        ) as problem:
            raise Unauthenticated(
                f"kubeconfig {file or '(default)'}: {str(problem)[:300]}"
            ) from problem
        self.server = str(self._configuration.host).rstrip("/")

    def tls(self) -> ssl.SSLContext:
        """One context for all requests, so that connections are used again."""
        if self._context is None:
            held = self._configuration
            self._context = ssl.create_default_context(cafile=held.ssl_ca_cert)
            if not held.verify_ssl:
                self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
            if held.cert_file:
                self._context.load_cert_chain(held.cert_file, held.key_file)
        return self._context

    async def authorization(self) -> str | None:
        """In a thread, because an exec plugin may take its time. The key's name changed with
        kubernetes 36.
        """
        value = await asyncio.to_thread(
            self._configuration.get_api_key_with_prefix, "BearerToken", "authorization"
        )
        return str(value) if value else None


def credentials_for(
    kubeconfig: Path | None, context: str | None, environ: Mapping[str, str], account: Path
) -> Credentials:
    """The credentials of a kubeconfig, or without one those of the pod.

    Raises: Unauthenticated
    """
    if kubeconfig is not None:
        return FromKubeconfig(str(kubeconfig), context)
    return InCluster(environ, account)


def own_audiences(credentials: Credentials | None, log: Log) -> tuple[str, ...]:
    """The audiences of a pod's own token; none without such a token, or where it cannot be read,
    which is logged.
    """
    try:
        return credentials.audiences() if isinstance(credentials, InCluster) else ()
    except Unauthenticated as problem:
        log.warning("cannot read own service account token", problem=str(problem))
        return ()


def audiences_of(token: str) -> tuple[str, ...]:
    """The `aud` claim of a JWT that is ours; nothing where it cannot be read. The signature is not
    our business.
    """
    with contextlib.suppress(ValueError, IndexError, RecursionError):
        payload = token.split(".")[1]
        said = _CLAIMS.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).aud
        return (said,) if isinstance(said, str) else said
    return ()


class _Claims(msgspec.Struct):
    aud: str | tuple[str, ...] = ()


_CLAIMS = msgspec.json.Decoder(_Claims)
