"""What a program that uses tokens has to expect. No text has a token in it.

TokenError
├── NoToken             no valid token can be had
│   ├── RequestRefused  the API server refused the TokenRequest: the text says what to do
│   │   └── Deleted     because the account, or what the token is bound to, is not there
│   ├── Expired         the one that there is has expired, and there is no newer one
│   └── Unreadable      the token file cannot be read, or holds no token
├── InvalidToken        a token that was received is refused, for one of REASONS
├── FolderError         a folder that files are written into cannot be used
│   └── FolderGone      it was removed or replaced meanwhile
└── NotVerified         it cannot be found out whether a token is valid
"""

from pathlib import Path
from typing import Any, Literal, get_args

from ..core.text import truncate
from ..errors import BoundtokenError

MAX_PATH_CHARS = 300

InvalidReason = Literal[
    "malformed",
    "bad-algorithm",
    "not-a-service-account",
    "wrong-audience",
    "not-yet-valid",
    "expired",
    "wrong-issuer",
    "unknown-key",
    "bad-signature",
    "revoked",
    "unauthenticated",
]
"""Why a token is refused, in the order in which it is found out."""
REASONS: tuple[InvalidReason, ...] = get_args(InvalidReason)
EXPLANATIONS: dict[InvalidReason, str] = {
    "malformed": "it is not a token as the API server writes one",
    "bad-algorithm": "its algorithm is not allowed or does not belong to its key",
    "not-a-service-account": "it is not of a service account",
    "wrong-audience": "it is for another audience",
    "not-yet-valid": "it is not valid yet",
    "expired": "it has expired",
    "wrong-issuer": "it is from another issuer",
    "unknown-key": "the issuer has no such key",
    "bad-signature": "its signature is wrong",
    "revoked": "its service account or the object that it is bound to is gone",
    "unauthenticated": "the API server does not accept it",
}
"""In words that may stand in a header: ASCII without quotes and backslashes (RFC 6750, 3), and
without commas, at which many clients split a challenge.
"""


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

    def __reduce__(self) -> tuple[Any, ...]:
        """It can be sent to another process."""
        return type(self), (str(self), self.status, self.retry_after)


class Deleted(RequestRefused):
    """The account, or the object that the token is bound to, is not there, or is another one of the
    same name: older tokens of it are refused too. `resource` is the kind of what is not there, such
    as serviceaccounts.
    """

    def __init__(
        self, text: str, status: int, retry_after: float = 0.0, resource: str = ""
    ) -> None:
        super().__init__(text, status, retry_after)
        self.resource = resource

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.status, self.retry_after, self.resource)


class Expired(NoToken):
    """The token that there is has expired, and there is no newer one."""


class Unreadable(NoToken):
    """The token file cannot be read, or holds no token."""


class InvalidToken(TokenError):
    """A token that was received is refused. Neither `reason` nor the text quotes it."""

    def __init__(self, reason: InvalidReason) -> None:
        super().__init__(f"the token is refused: {EXPLANATIONS[reason]} ({reason})")
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """It can be sent to another process."""
        return type(self), (self.reason,)


class FolderError(TokenError):
    """A folder cannot be written into. The text names it and says what is wrong."""

    def __init__(self, path: Path, problem: OSError | str) -> None:
        text = problem if isinstance(problem, str) else (problem.strerror or str(problem))
        super().__init__(f"{truncate(str(path), MAX_PATH_CHARS)}: {text}")


class FolderGone(FolderError):
    """The folder that was opened is not at its path any more: somebody removed or replaced it."""


class NotVerified(TokenError):
    """It cannot be found out whether a token is valid: the API server or the issuer cannot be
    reached, or refuses to tell. `retry_after` as for NoToken.
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after
