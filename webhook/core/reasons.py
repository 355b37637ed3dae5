"""What becomes of a request, and why, in the words of logs, metrics, audit annotations and
docs/reference.md.
"""

from typing import Literal, get_args

Outcome = Literal["patched", "unchanged", "failed", "denied", "warned"]
Reason = Literal[
    "injected",
    "rewritten",
    "stripped",
    "unchanged",
    "not-requested",
    "pod-opted-out",
    "mirror-pod",
    "excluded-namespace",
    "own-namespace",
    "not-applicable",
    "namespace-unknown",
    "copied",
    "left-to-owner",
    "complies",
    "violates",
    "exempt",
    "not-enforced",
    "malformed-review",
    "internal-error",
]
"""The closed list. docs/reference.md explains each; a test compares the two."""
REASONS: tuple[Reason, ...] = get_args(Reason)
