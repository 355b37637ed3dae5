"""Tokens that people and automation ask for themselves: TokenRequests, and legacy token Secrets.
Each rule says what is wrong.

Nobody's namespace is left out, because the accounts of kube-system are the strongest there are; it
is the *requester* that may be exempt. The same under dryRun: the API server does not honour it for
TokenRequests and really issues the token (pkg/registry/core/serviceaccount/storage/token.go; seen
on 1.37).
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
"""What names the account of a legacy token Secret (core/v1 ServiceAccountNameKey,
ServiceAccountUIDKey)."""
WEBHOOK_KINDS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
MAX_LIST_CHARS = 300

LIFETIME = "[token-lifetime] {asked} s are asked for, and at most {maximum} s are allowed; use --duration={advised}s or less"
ONE_YEAR = "[token-lifetime] 3607 makes a token of a pod valid for one year, not {maximum} s; use --duration={advised}s or less"
AUDIENCE = "[token-audience] audience {audiences} is not allowed; leave --audience out{allowed}"
DENIAL = 'token of service account "{account}" in namespace "{namespace}": '
LEGACY_SECRET = (
    f"a Secret of type {names.LEGACY_TOKEN_TYPE} holds a token that never expires; "
    "use kubectl create token, or a projected serviceAccountToken in the pod"
)


def is_node(user: UserInfo) -> bool:
    """Whether it is a node: by group and name, because NodeRestriction holds down only who has
    both.
    """
    return NODE_GROUP in user.groups and user.username.startswith(NODE_PREFIX)


def is_control_plane(user: UserInfo) -> bool:
    """Whether it is a part of the control plane, or a controller of kube-system."""
    return user.username in CONTROL_PLANE or user.username.startswith(SYSTEM_ACCOUNTS)


def may_ask_for_anything(held: TokenRequest, user: UserInfo) -> bool:
    """Nodes are held to what pods declare, by NodeRestriction, and pods are judged; the control
    plane needs its tokens.

    So does an API server that proves itself to webhooks: who may ask for such a token needs a right
    of its own (KEP-6060).
    """
    bound = held.spec.bound_object_ref
    return (
        is_node(user)
        or is_control_plane(user)
        or (bound is not None and bound.kind in WEBHOOK_KINDS)
    )


def token_request(held: TokenRequest, limits: Limits) -> list[str]:
    """What is wrong with a TokenRequest."""
    bound = held.spec.bound_object_ref
    asked = held.spec.expiration_seconds
    audiences = held.spec.audiences or ("",)
    others = f", or use one of {limits.allowed_text}" if limits.allowed_text else ""
    fill = {"asked": asked, "maximum": limits.maximum, "advised": limits.advised, "allowed": others}
    problems = []
    if bound is not None and bound.kind == "Pod" and limits.is_extended(asked, audiences):
        if limits.is_too_long(names.YEAR_SECONDS):
            problems.append(ONE_YEAR.format(**fill))
    elif limits.is_too_long(names.API_DEFAULT_EXPIRATION_SECONDS if asked is None else asked):
        problems.append(LIFETIME.format(**fill))
    strange = (audience for audience in audiences if not limits.allows(audience))
    if listed := list(islice(strange, MAX_LIST_CHARS)):  # more would not be shown
        problems.append(
            AUDIENCE.format(
                audiences=truncate(", ".join(map(displayed, listed)), MAX_LIST_CHARS), **fill
            )
        )
    return problems


def token_request_denial(account: str, namespace: str, problems: list[str]) -> str:
    """The sentence that a requester reads."""
    return DENIAL.format(account=account, namespace=namespace) + ". ".join(problems)


def legacy_secret(held: Secret) -> list[str]:
    """What is wrong with creating this Secret."""
    return [LEGACY_SECRET] if held.type == names.LEGACY_TOKEN_TYPE else []
