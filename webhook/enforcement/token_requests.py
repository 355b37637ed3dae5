"""The rules for tokens that people and automation request themselves: TokenRequests and legacy
token Secrets.

The rules apply in every namespace, because the service accounts of kube-system are the most
powerful ones. Only the *requester* may be exempt. The rules also apply to dry runs: the API server
ignores dryRun for TokenRequests and really issues the token
(pkg/registry/core/serviceaccount/storage/token.go; seen on 1.37).
"""

from itertools import islice

from ..core import names
from ..core.full_views import Secret, TokenRequest, UserInfo
from ..core.limits import Limits
from ..core.text import displayed, truncate

NODE_GROUP, NODE_PREFIX = "system:nodes", "system:node:"
CONTROL_PLANE = (
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:cloud-controller-manager",
)
SYSTEM_ACCOUNTS = "system:serviceaccount:kube-system:"
ACCOUNT_PREFIX = "system:serviceaccount:"
ACCOUNT_ANNOTATIONS = ("kubernetes.io/service-account.name", "kubernetes.io/service-account.uid")
"""The annotations that name the account of a legacy token Secret (core/v1 ServiceAccountNameKey,
ServiceAccountUIDKey)."""
WEBHOOK_KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
MAX_LIST_CHARS = 300
LEGACY_TOKEN = "legacy-token"  # noqa: S105  (a rule)
"""The rule of a Secret that is created; of a pod that uses one it is the same."""

LIFETIME = "[token-lifetime] {seconds} s are asked for, and at most {maximum} s are allowed; use --duration={advised}s or less"
ONE_YEAR = "[token-lifetime] 3607 makes a token of a pod valid for one year, not {maximum} s; use --duration={advised}s or less"
AUDIENCE = "[token-audience] audience {audiences} is not allowed; leave --audience out{allowed}"
DENIAL = 'token of service account "{account}" in namespace "{namespace}": '
LEGACY_SECRET = (
    f"a Secret of type {names.LEGACY_TOKEN_TYPE} holds a token that never expires; "
    "use kubectl create token, or a projected serviceAccountToken in the pod"
)


def is_node(user: UserInfo) -> bool:
    """Whether the user is a node. Both group and name must match, because NodeRestriction limits
    only users with both.
    """
    return NODE_GROUP in user.groups and user.username.startswith(NODE_PREFIX)


def is_control_plane(user: UserInfo) -> bool:
    """Whether the user is a component of the control plane, or a service account of kube-system."""
    return user.username in CONTROL_PLANE or user.username.startswith(SYSTEM_ACCOUNTS)


def may_ask_for_anything(request: TokenRequest, user: UserInfo) -> bool:
    """Whether no rule applies to this TokenRequest.

    A node can only request the tokens that its pods declare (NodeRestriction), and those pods are
    evaluated themselves. The control plane needs its tokens. So does an API server that
    authenticates to webhooks; requesting such a token needs a permission of its own (KEP-6060).
    """
    bound = request.spec.bound_object_ref
    return (
        is_node(user)
        or is_control_plane(user)
        or (bound is not None and bound.kind in WEBHOOK_KINDS)
    )


def token_request(request: TokenRequest, limits: Limits) -> list[str]:
    """Return the violations of a TokenRequest."""
    bound = request.spec.bound_object_ref
    seconds = request.spec.expiration_seconds
    audiences = request.spec.audiences or ("",)
    others = f", or use one of {limits.allowed_text}" if limits.allowed_text else ""
    fill = {
        "seconds": seconds,
        "maximum": limits.maximum,
        "advised": limits.advised,
        "allowed": others,
    }
    problems = []
    # The API server extends only tokens that are bound to a pod.
    if bound is not None and bound.kind == "Pod" and limits.is_extended(seconds, audiences):
        if limits.is_too_long(names.YEAR_SECONDS):
            problems.append(ONE_YEAR.format(**fill))
    elif limits.is_too_long(names.API_DEFAULT_EXPIRATION_SECONDS if seconds is None else seconds):
        problems.append(LIFETIME.format(**fill))
    foreign = (audience for audience in audiences if not limits.allows(audience))
    if shown := list(islice(foreign, MAX_LIST_CHARS)):  # more would not be shown
        problems.append(
            AUDIENCE.format(
                audiences=truncate(", ".join(map(displayed, shown)), MAX_LIST_CHARS), **fill
            )
        )
    return problems


def violated_rules(problems: list[str]) -> tuple[str, ...]:
    """Return the rules of these violations: each text begins with its rule in brackets."""
    return tuple(problem[1:].partition("]")[0] for problem in problems)


def token_request_denial(account: str, namespace: str, problems: list[str]) -> str:
    """Return the message for the requester."""
    return DENIAL.format(account=account, namespace=namespace) + ". ".join(problems)


def legacy_secret(secret: Secret) -> list[str]:
    """Return the violations of a Secret that is created."""
    return [LEGACY_SECRET] if secret.type == names.LEGACY_TOKEN_TYPE else []
