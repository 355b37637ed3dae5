"""The exceptions. A bad value that a user wrote is no exception but a value
(`core.faults.Fault`).

BoundtokenError
├── MalformedReview     the bytes are no AdmissionReview v1: the route answers 400
├── BadInput            a given file or flag is wrong: exit code 2
├── BadCertificate      a certificate and key that cannot be served
├── Unauthenticated     no credential for the API server can be found or read
├── bodies.BodyTooLarge a request with too long a body: 413
├── bodies.TooSlow      a request whose body does not arrive in time: 408
├── tokens.errors.TokenError, of the library: its module has them
└── ApiError            the API server refused, cannot be reached, or sent an unreadable answer
    ├── Gone            410: the resource version is too old, list again
    ├── NotFound        404
    ├── Conflict        409: somebody else wrote in between
    └── TooLarge        an answer above its limit of bytes
"""

import traceback
from pathlib import Path

DESCRIBED_FRAMES = 3
"""Of an unexpected exception: where it was raised, and by whose call."""
OF_COMMANDS = {
    "jsonpatch": "jsonpatch",
    "jwt": "pyjwt",
    "kubernetes": "kubernetes",
    "ruamel": "ruamel.yaml",
}
"""Packages that commands import and serving does not, by the module's name: those of the extra
`cli`."""


def missing_package(problem: Exception) -> str:
    """How to install what an ImportError is about; empty where no command of ours needs it."""
    package = OF_COMMANDS.get(str(getattr(problem, "name", "")).partition(".")[0])
    return f"the package {package} is needed: pip install 'boundtoken[cli]'" if package else ""


class BoundtokenError(Exception):
    """The base of all; the text is one line for people."""


class MalformedReview(BoundtokenError):
    """The bytes are not an AdmissionReview v1 with a request that we can read."""


class BadInput(BoundtokenError):
    """A given file or flag is wrong; `faults` has every fault, each with its place."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class BadCertificate(BoundtokenError):
    """A certificate and key that cannot be served."""


class Unauthenticated(BoundtokenError):
    """No credential for the API server can be found or read."""


class ApiError(BoundtokenError):
    """The API server refused (`status` is its HTTP code), cannot be reached or sent an unreadable
    answer (`status` is 0).

    `retry_after` is the number of seconds that it asks us to wait, or 0.
    """

    def __init__(self, text: str, status: int = 0, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after


class Gone(ApiError):
    """410: the resource version is too old, list again."""


class NotFound(ApiError):
    """404: there is no such object."""


class Conflict(ApiError):
    """409: the object exists already, or somebody else wrote in between."""


class TooLarge(ApiError):
    """An answer above its limit of bytes; a list is then requested in smaller pages."""


def described(problem: Exception) -> str:
    """The text of an exception of ours; of any other its type and its last frames.

    Why not its text: it may quote data, such as a key.
    """
    if isinstance(problem, BoundtokenError):
        return str(problem)
    frames = traceback.extract_tb(problem.__traceback__)[-DESCRIBED_FRAMES:]
    return f"{type(problem).__name__} at " + ", ".join(
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames
    )
