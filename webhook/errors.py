"""What can break, as exceptions; never what users wrote wrong, which is a value (`core.policy.Fault`).

WebhookError
├── MalformedReview     the bytes are no AdmissionReview v1: the route answers 400
├── BadInput            a file or flag that a person gave is wrong: exit code 2
├── BadCertificate      a certificate and key that cannot be served
├── Unauthenticated     no credential for the API server can be found or read
└── ApiError            the API server refused, or cannot be reached
    ├── Gone            410: the resource version is too old, list again
    ├── NotFound        404
    └── Conflict        409: somebody else wrote in between
"""


class WebhookError(Exception):
    """The family; the text is one line for people."""


class MalformedReview(WebhookError):
    """The bytes are not an AdmissionReview v1 with a request that we can read."""


class BadInput(WebhookError):
    """What a person gave is wrong; `faults` holds every fault, each naming its place."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class BadCertificate(WebhookError):
    """A certificate and key that cannot be served."""


class Unauthenticated(WebhookError):
    """No credential for the API server can be found or read."""


class ApiError(WebhookError):
    """The API server refused (`status` is its HTTP code) or cannot be reached (`status` is 0)."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Gone(ApiError):
    """410: the resource version is too old, list again."""


class NotFound(ApiError):
    """404: there is no such object."""


class Conflict(ApiError):
    """409: the object exists already, or somebody else wrote in between."""
