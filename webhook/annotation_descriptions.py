"""What each annotation of users may say, and what it means: for the help of the flags of
`boundtoken inject` that stand for annotations, and for docs/reference.md.
"""

from typing import NamedTuple

from .core import names
from .core.annotations import INJECT_VALUES
from .core.levels import LEVELS, VERSIONS

_SWITCH = ("enabled", "disabled")
_VERSION_VALUES = (*VERSIONS, "latest")
_VERSION_MEANING = "which release's meaning holds, of the level of "


class Description(NamedTuple):
    """The values, as all words that are allowed or in a phrase; and the meaning, in a phrase."""

    value: str | tuple[str, ...]
    meaning: str


DESCRIPTIONS: dict[str, Description] = {
    names.INJECT: Description(
        INJECT_VALUES,
        "whether a pod gets a token of boundtoken; replace: only where Kubernetes has mounted one",
    ),
    names.AUTOMOUNT: Description(_SWITCH, "whether the automounted token of Kubernetes may stay"),
    names.AUDIENCE: Description(
        f"one audience of at most {names.MAX_AUDIENCE_CHARS} printable characters, without"
        " whitespace; empty for the API server's own",
        "whom the token is for",
    ),
    names.EXPIRATION_SECONDS: Description(
        f"whole seconds, {names.MIN_EXPIRATION_SECONDS} to {names.MAX_EXPIRATION_SECONDS_LIMIT};"
        f" {names.YEAR_TRAP_SECONDS} becomes {names.YEAR_TRAP_REPLACEMENT}; below"
        f" {names.COMFORTABLE_SECONDS} the kubelet has little time to rotate",
        "how long the token is valid",
    ),
    names.MOUNT_PATH: Description(
        f"an absolute path of at most {names.MAX_PATH_BYTES} bytes, without `//`, `.`, `..`, `:`;"
        " no system folder",
        "where the token is mounted",
    ),
    names.TOKENS: Description(
        f"`file=audience[;seconds]`, separated by commas, at most {names.MAX_TOKENS}",
        f"further tokens, in {names.TOKENS_PATH}; under replace for the pods that it injects",
    ),
    names.SKIP_CONTAINERS: Description(
        "names of containers, separated by commas", "which containers are not changed; pods only"
    ),
    names.MAX_EXPIRATION_SECONDS: Description(
        f"whole seconds, {names.MIN_EXPIRATION_SECONDS} or more",
        "no token of boundtoken is valid for longer",
    ),
    names.ALLOWED_AUDIENCES: Description(
        "audiences, separated by commas",
        "any other audience is a bad value; the API server's own is always allowed",
    ),
    names.POD_OVERRIDES: Description(
        ("allowed", "denied"),
        "what a pod may change; denied: it may only tighten what its namespace says",
    ),
    names.ENFORCE: Description(LEVELS, "the level that a pod must comply with to be created"),
    names.WARN: Description(
        LEVELS, "the level whose violations are warned about when the pod is created"
    ),
    names.AUDIT: Description(LEVELS, "the level whose violations are recorded in the audit log"),
    names.ENFORCE_VERSION: Description(_VERSION_VALUES, _VERSION_MEANING + "enforce"),
    names.WARN_VERSION: Description(_VERSION_VALUES, _VERSION_MEANING + "warn"),
    names.AUDIT_VERSION: Description(_VERSION_VALUES, _VERSION_MEANING + "audit"),
}
"""By the name of the annotation."""
