"""kubernetes.aio: `CoreV1Api(TokenApiClient(source))`, or for clients that others make
`Configuration.set_default(configured(source))`, which does not send again after a 401. Version 37
of the package `kubernetes` is the first that has all of it.

Redirects: aiohttp takes the header off a request to another host, port or scheme; an answer of 401
after a redirect is returned as it is.
A request that has its own Authorization header, or a `_request_auth`, is sent as it is.
Sent again after a 401: every request, and each request of a watch; their bodies are JSON. Not:
the WsApiClient (exec, attach), which gets a valid token but makes its requests itself.
"""

from typing import Any

from ..source import TokenSource
from . import kubernetes_async
from .shared import lacking

try:
    from kubernetes.aio import client
except ImportError as problem:
    raise lacking(problem, __name__, "kubernetes>=37") from problem


class TokenApiClient(client.ApiClient):
    """An ApiClient with the tokens of `source`, which it renews once when the API server answers
    401. It is made in a coroutine.

    Without a configuration it is for the API server of this pod. Other credentials of the
    configuration are taken out. A NoToken of the source is raised by the call.

    Raises: NoToken, without a configuration and outside of a pod
    """

    def __init__(self, source: TokenSource, configuration: Any = None, **options: Any) -> None:
        super().__init__(configured(source, configuration), **options)
        rest: Any = self.rest_client
        rest.request = kubernetes_async.renewing(rest.request, source, client.ApiException)


def configured(source: TokenSource, configuration: Any = None) -> Any:
    """`configuration` with a hook that sets a token of `source` before each request; without one,
    a new Configuration for the API server of this pod.

    Raises: NoToken, without a configuration and outside of a pod
    """
    return kubernetes_async.configured(client.Configuration, source, configuration)
