"""Tokens that people and automation ask for themselves: TokenRequests, and legacy token Secrets. Each rule says what is wrong.

The same under dryRun: the API server does not honour it for TokenRequests and really issues the token (kubernetes.md 4).
"""

from . import names, rules
from .demands import Level
from .finals import Secret, TokenRequest, UserInfo
from .pods import TokenSource
from .rules import Bounds
from .text import quoted

NODES, CONTROLLERS = "system:nodes", "system:kube-controller-manager"
WEBHOOK_KINDS = frozenset({"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"})


def token_request(held: TokenRequest, user: UserInfo, bounds: Bounds, level: Level) -> list[str]:
    """What is wrong with a TokenRequest; nodes, the control plane and webhook-bound requests may ask for what they need.

    Why nodes may: NodeRestriction holds them to what pods declare, and those are judged.
    """
    bound = held.spec.bound_object_ref
    if NODES in (user.groups or ()) or user.username == CONTROLLERS or (bound is not None and bound.kind in WEBHOOK_KINDS):
        return []
    audiences = held.spec.audiences or ("",)
    problems = []
    maximum, asked = bounds.maximum(level), held.spec.expiration_seconds
    is_pod_bound = bound is not None and bound.kind == "Pod"
    source = TokenSource(expiration_seconds=asked)
    extended = is_pod_bound and all(map(bounds.is_api_audience, audiences))
    lives = rules.lifetime(source, bounds) if extended else asked or names.DEFAULT_EXPIRATION_SECONDS
    if lives > maximum:
        makes = f"{asked} becomes a year" if lives != asked else f"must be at most {maximum}, not {asked}"
        near = bounds.advised(level)
        problems.append(f"spec.expirationSeconds: {makes}; ask for {near} or less, such as --duration={near}s")
    if strange := [audience for audience in audiences if not bounds.allows(audience)]:
        allowed = ", ".join(map(quoted, sorted(bounds.locks.allowed_audiences or ()))) or "none but the API server's own"
        problems.append(f"spec.audiences: {', '.join(map(quoted, strange))} is not allowed here; allowed: {allowed}")
    return problems


def legacy_secret(held: Secret) -> list[str]:
    """What is wrong with creating this Secret."""
    if held.type != names.LEGACY_TOKEN_TYPE:
        return []
    cure = "use kubectl create token, or a projected serviceAccountToken in the pod"
    return [f"type: a Secret of type {names.LEGACY_TOKEN_TYPE} holds a token that never ends; {cure}"]
