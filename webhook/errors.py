"""What can break, as exceptions; never what users wrote wrong, which is a value
(`core.faults.Fault`).

BoundtokenError
├── MalformedReview     the bytes are no AdmissionReview v1: the route answers 400
├── BadInput            a file or flag that a person gave is wrong: exit code 2
├── BadCertificate      a certificate and key that cannot be served
├── Unauthenticated     no credential for the API server can be found or read
└── ApiError            the API server refused, cannot be reached, or answered what cannot be read
    ├── Gone            410: the resource version is too old, list again
    ├── NotFound        404
    ├── Conflict        409: somebody else wrote in between
    └── TooLarge        an answer that is longer than it may be
"""

import traceback
from pathlib import Path

DESCRIBED_FRAMES = 3
"""Of a failure that nobody foresaw: where it arose and who asked; more is noise in a line that
repeats."""


class BoundtokenError(Exception):
    """The family; the text is one line for people."""


class MalformedReview(BoundtokenError):
    """The bytes are not an AdmissionReview v1 with a request that we can read."""


class BadInput(BoundtokenError):
    """What a person gave is wrong; `faults` holds every fault, each naming its place."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class BadCertificate(BoundtokenError):
    """A certificate and key that cannot be served."""


class Unauthenticated(BoundtokenError):
    """No credential for the API server can be found or read."""


class ApiError(BoundtokenError):
    """The API server refused (`status` is its HTTP code), cannot be reached or answered nonsense
    (`status` is 0).

    `retry_after` is how many seconds it asked us to wait, 0 where it did not.
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
    """An answer that is longer than it may be; a list is asked for in smaller pages then."""


def described(problem: Exception) -> str:
    """What a loop says of its failure: the text of an error of ours; of any other its type and its
    last frames.

    Why not its text: it may quote what came in, such as a key.
    """
    if isinstance(problem, BoundtokenError):
        return str(problem)
    frames = traceback.extract_tb(problem.__traceback__)[-DESCRIBED_FRAMES:]
    return f"{type(problem).__name__} at " + ", ".join(
        f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in frames
    )
