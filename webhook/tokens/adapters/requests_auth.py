"""requests: `session.auth = BearerAuth(source)`, or `requests.get(url, auth=BearerAuth(source))`.

Redirects: requests takes the header off a request to another origin; the one exception is from
http to https on the same host and the default ports. A 401 from there is returned as it is.
A request that has its own Authorization header is sent as it is.
Sent again after a 401: bodies of bytes, text, JSON and forms with files, and a file that can seek.
Not: generators and iterators.
"""

import time
from datetime import timedelta
from typing import Any

from ..source import TokenSource
from .shared import (
    AUTHORIZATION,
    UNAUTHORIZED,
    Header,
    can_rewind,
    drain,
    lacking,
    renewed,
)

try:
    import requests
    from requests.auth import AuthBase
except ImportError as problem:
    raise lacking(problem, __name__, "boundtoken[requests]") from problem


class BearerAuth(AuthBase):
    """Sends a token of `source` with each request, and renews it once when the server answers 401.

    Safe under threads. A NoToken of the source is raised by the call.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if AUTHORIZATION in r.headers:
            return r
        start = _position(r.body)

        def answered(response: requests.Response, **options: Any) -> requests.Response:
            return self._answered(response, start, options)

        r.headers[AUTHORIZATION] = Header.of(self._source.get())
        r.register_hook("response", answered)  # type: ignore[no-untyped-call]
        return r

    def _answered(
        self, response: requests.Response, start: int | None, options: dict[str, Any]
    ) -> requests.Response:
        """The answer to give the caller; `start` is where a body that is a file begins.

        requests copies the hook to the request of each redirect.
        """
        request = response.request
        header = request.headers.get(AUTHORIZATION)
        if response.status_code != UNAUTHORIZED or not isinstance(header, Header):
            return response
        try:
            another = renewed(self._source, header)
        except BaseException:
            response.close()
            raise
        if another is None or not _rewound(request.body, start):
            return response
        drain(response.raw)
        response.close()
        # The same object: requests makes the request of a later redirect of it.
        request.headers[AUTHORIZATION] = another
        start_of_send = time.perf_counter()
        again: requests.Response = response.connection.send(request, **options)
        again.elapsed = timedelta(seconds=time.perf_counter() - start_of_send)
        again.history.append(response)
        again.request = request
        return again


def _position(body: Any) -> int | None:
    return int(body.tell()) if can_rewind(body) else None


def _rewound(body: Any, start: int | None) -> bool:
    """Whether the body can be sent again; a file is then where it was."""
    if body is None or isinstance(body, str | bytes):
        return True
    if start is None or not can_rewind(body):
        return False
    body.seek(start)
    return True
