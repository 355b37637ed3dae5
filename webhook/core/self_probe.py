"""The pod that a probe asks the API server for in a dry run, and what became of it: a replica asks
for its own (`serving.self_probe`), `boundtoken check` for one in another namespace.
"""

from typing import Any, Literal, get_args

from . import names
from .views import Pod

Result = Literal["injected", "not-injected", "refused", "could-not-ask"]
RESULTS: tuple[Result, ...] = get_args(Result)
"""`refused`: somebody else, such as another webhook or a quota, did not let the pod in;
`could-not-ask`: the API server did not answer, or the right is missing."""
NO_RIGHT = "cannot create resource"
"""In the message of an authorizer (apiserver/pkg/endpoints/handlers/responsewriters/errors.go),
which a denial of admission has not."""
IMAGE = "registry.k8s.io/pause:3.10"
"""Never pulled: the pod is not kept."""
_REFUSING = frozenset({400, 403, 409, 422})
"""What admission and validation answer; 400 is also that of a webhook with side effects."""
_FAILED_CLOSED = "failed calling webhook"
"""A webhook with `failurePolicy: Fail` that could not be called: 500."""
_CHANGED = frozenset({"injected", "rewritten", "stripped", "nothing-to-replace"})
"""The reasons of a status that leave no token of a year in this pod."""


def restricted_pod(generate_name: str, annotations: dict[str, str]) -> dict[str, Any]:
    """A pod that every level of Pod Security lets in, and that needs nearly nothing of a quota."""
    container = {
        "name": "app",
        "image": IMAGE,
        "resources": {
            "requests": {"cpu": "1m", "memory": "1Mi"},
            "limits": {"cpu": "1m", "memory": "1Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": generate_name, "annotations": annotations},
        "spec": {"containers": [container]},
    }


def pod() -> dict[str, Any]:
    """The pod of the self-probe, which mutation recognizes by its generateName."""
    return restricted_pod(names.SELF_PROBE, {names.INJECT: "enabled"})


def result_of(came_back: Pod) -> Result:
    """Whether a replica has changed the pod: its status says so, and no token of a year is left,
    which somebody who changes pods after us may have put back.
    """
    reason, _, _ = came_back.annotations.get(names.STATUS, "").partition(":")
    tokens = (
        source.service_account_token
        for volume in came_back.spec.volumes or ()
        for source in volume.sources
    )
    lives_a_year = any(
        token is not None
        and token.expiration_seconds == names.YEAR_TRAP_SECONDS
        and not token.audience
        for token in tokens
    )
    return "injected" if reason in _CHANGED and not lives_a_year else "not-injected"


def result_of_refusal(status: int, message: str) -> Result:
    """What an answer of the API server with this HTTP status means; 0 where there was none."""
    lacks_right = NO_RIGHT in message
    refuses = status in _REFUSING or _FAILED_CLOSED in message
    return "refused" if refuses and not lacks_right else "could-not-ask"
