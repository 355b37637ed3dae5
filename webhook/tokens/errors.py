"""What a program that uses tokens has to expect. No text has a token in it.

TokenError
├── NoToken             no valid token can be had
│   ├── RequestRefused  the API server refused the TokenRequest: the text says what to do
│   ├── Expired         the one that there is has expired, and there is no newer one
│   └── Unreadable      the token file cannot be read, or holds no token
└── NotVerified         it cannot be found out whether a token is valid
"""

from ..errors import BoundtokenError


class TokenError(BoundtokenError):
    """The base of all; the text is one line for people."""


class NoToken(TokenError):
    """No valid token can be had. `retry_after` is the number of seconds after which another try
    makes sense, or 0.
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class RequestRefused(NoToken):
    """The API server refused the TokenRequest; `status` is its HTTP code."""

    def __init__(self, text: str, status: int, retry_after: float = 0.0) -> None:
        super().__init__(text, retry_after)
        self.status = status


class Expired(NoToken):
    """The token that there is has expired, and there is no newer one."""


class Unreadable(NoToken):
    """The token file cannot be read, or holds no token."""


class NotVerified(TokenError):
    """It cannot be found out whether a token is valid: the API server or the issuer cannot be
    reached, or refuses to tell. `retry_after` as for NoToken.
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after
