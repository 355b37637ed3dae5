"""kubernetes: `CoreV1Api(TokenApiClient(source))`, or for clients that others make
`Configuration.set_default(configured(source))`, which does not send again after a 401.

Redirects: urllib3 takes the header off a request to another host, port or scheme; an answer of 401
after a redirect is returned as it is (up to version 36 it is sent to its first URL again).
A request that has its own Authorization header, or a `_request_auth`, is sent as it is.
Sent again after a 401: every request, and each request of a watch; their bodies are JSON. Not:
`kubernetes.stream` (exec, attach, port-forward), which gets a valid token but has its own client.
"""

from collections.abc import Callable
from typing import Any

from ..source import TokenSource
from .kubernetes_shared import authenticate, connect, renewing, set_header
from .shared import Header, lacking

try:
    from kubernetes import client
except ImportError as problem:
    raise lacking(problem, __name__, "kubernetes>=34") from problem


class TokenApiClient(client.ApiClient):
    """An ApiClient with the tokens of `source`, which it renews once when the API server answers
    401.

    Without a configuration it is for the API server of this pod. Other credentials of the
    configuration are taken out. A NoToken of the source is raised by the call.

    Raises: NoToken, without a configuration and outside of a pod
    """

    def __init__(self, source: TokenSource, configuration: Any = None, **options: Any) -> None:
        super().__init__(configured(source, configuration), **options)
        rest: Any = self.rest_client
        rest.request = renewing(rest.request, source, client.ApiException)


def configured(source: TokenSource, configuration: Any = None) -> Any:
    """`configuration` with a hook that sets a token of `source` before each request; without one,
    a new Configuration for the API server of this pod.

    Raises: NoToken, without a configuration and outside of a pod
    """
    if configuration is None:
        configuration = client.Configuration()
        connect(configuration, source)
    authenticate(configuration, _hook(source))
    return configuration


def _hook(source: TokenSource) -> Callable[[Any], None]:
    """A function, because the client copies a configuration deeply with all that is in it."""

    def refresh(configuration: Any) -> None:
        set_header(configuration, Header.of(source.get()))

    return refresh
