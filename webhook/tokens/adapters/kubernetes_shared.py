"""What the adapters of the three Kubernetes clients share: `kubernetes`, its `kubernetes.aio`, and
`kubernetes_asyncio`, which `kubernetes.aio` was made of.

The least that has to be touched, in every version from 34 on: the hook of a Configuration, which
the client calls before each request, and the method `request` of an ApiClient's `rest_client`,
through which each request goes, watches too. In `kubernetes` 37 this method returns an answer of
401; in `kubernetes` up to 36 and in `kubernetes_asyncio` it raises an ApiException for most.
"""

import os
from collections.abc import Callable
from typing import Any

from ...cluster.credentials import InCluster
from ...errors import Unauthenticated
from ..errors import NoToken
from ..file import SERVICE_ACCOUNT, TokenFile
from ..source import TokenSource
from .shared import UNAUTHORIZED, Header, drain, renewed

_KEYS = ("BearerToken", "authorization")
"""Of `api_key`: the first from version 36 on, the second up to 35."""
HEADER = "authorization"
"""As the clients spell it."""

Request = Callable[..., Any]


def connect(configuration: Any, source: TokenSource) -> None:
    """Set the API server of this pod and its CA, from the folder of a TokenFile where it has one.

    Raises: NoToken, outside of a pod
    """
    try:
        configuration.host = InCluster(os.environ).server
    except Unauthenticated as problem:
        raise NoToken(f"{problem}; give a Configuration with a host") from None
    folders = [source.path.parent] if isinstance(source, TokenFile) else []
    for folder in (*folders, SERVICE_ACCOUNT):
        if (folder / "ca.crt").is_file():
            configuration.ssl_ca_cert = str(folder / "ca.crt")
            return


def authenticate(configuration: Any, hook: Callable[[Any], Any]) -> None:
    """Let `hook` set the token of a configuration before each request.

    Other credentials are taken out: to the API server a client certificate counts more than a
    token.
    """
    for key in _KEYS:
        configuration.api_key_prefix.pop(key, None)
    set_header(configuration, Header())  # the clients ask the hook only where there is a key
    configuration.cert_file = configuration.key_file = None
    configuration.refresh_api_key_hook = hook


def set_header(configuration: Any, header: Header) -> None:
    for key in _KEYS:
        configuration.api_key[key] = header


class Outcome:
    """What became of a request: an answer, or the ApiException that was raised in its place."""

    def __init__(self, answer: Any = None, problem: Exception | None = None) -> None:
        self._answer = answer
        self._problem = problem
        self.raw: Any = getattr(answer, "response", answer)
        """The answer of urllib3 or aiohttp; None for an ApiException, which has read it."""

    def get(self) -> Any:
        """The answer. Raises: the ApiException"""
        if self._problem is not None:
            raise self._problem
        return self._answer

    @property
    def is_rejected(self) -> bool:
        """Whether the API server answered with 401, to the request that the caller has made and not
        to one that a redirect led to.
        """
        told = self._problem if self._problem is not None else self._answer
        return getattr(told, "status", 0) == UNAUTHORIZED and not self._was_redirected

    @property
    def _was_redirected(self) -> bool:
        retries = getattr(self.raw, "retries", None)  # urllib3 keeps its history there
        steps = getattr(retries, "history", ())
        return bool(getattr(self.raw, "history", ())) or any(s.redirect_location for s in steps)

    def close(self) -> None:
        if self.raw is not None:
            self.raw.close()


def renewing(send: Request, source: TokenSource, refused: type[Exception]) -> Request:
    """A rest client's `request` that renews the token once and sends once more after a 401.

    `refused` is the client's ApiException. The bodies of these clients can always be sent again.
    """

    def request(*arguments: Any, headers: Any = None, **options: Any) -> Any:
        sent, header = split(headers)
        try:
            outcome = Outcome(send(*arguments, headers=dict(sent), **options))
        except refused as problem:
            outcome = Outcome(problem=problem)
        if header is None or not outcome.is_rejected:
            return outcome.get()
        try:
            another = renewed(source, header)
        except BaseException:
            outcome.close()
            raise
        if another is None:
            return outcome.get()
        if outcome.raw is not None:
            drain(outcome.raw)
        return send(*arguments, headers={**sent, HEADER: another}, **options)

    return request


def split(headers: Any) -> tuple[dict[str, Any], Header | None]:
    """The headers to send, and ours among them: not where the caller has an Authorization header,
    which the clients would send beside ours.
    """
    sent = dict(headers or {})
    ours = sent.get(HEADER)
    if not isinstance(ours, Header):
        return sent, None
    if any(name.lower() == HEADER and name != HEADER for name in sent):
        del sent[HEADER]
        return sent, None
    return sent, ours
