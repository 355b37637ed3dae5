"""The variables and conditions of the policies for TokenRequests and legacy token Secrets."""

from ...core import names
from ...core.limits import BAD_MAXIMUM, DEFAULT_MAXIMUM
from ...core.policy import GOVERN_MODES
from .. import cel, token_requests
from .variables import ANNOTATIONS, MEASURES, TEXTS, USERNAME, Variable, advised

Condition = dict[str, str]

ACCOUNT = """
@username.startsWith('@prefix') ? @username.substring(@length).replace(':', '/') : ''
"""
MAXIMUM = """
[variables.lock, variables.own, variables.namespaceMaximum == 0 ? @limit : variables.namespaceMaximum, @limit].min()
"""
ONE_YEAR = """
variables.seconds == @trap && variables.boundKind == 'Pod'
  && variables.audiences.all(a, a == '' || variables.apiAudiences == [] || a in variables.apiAudiences)
"""
FOREIGN = """
variables.audiences.filter(a, a != '' && !variables.anyAudience
  && !(a in variables.allowedAudiences) && !(a in variables.apiAudiences))
  .map(a, @displayed).join(', ')
"""
VIOLATIONS = """
(variables.oneYear && variables.maximum < @year
    ? [@one_year] : [])
  + (!variables.oneYear && variables.seconds > variables.maximum
    ? [@lifetime] : [])
  + (variables.foreignAudiences != ''
    ? [@audience] : [])
"""
BOUND_KIND = """
has(object.spec.boundObjectRef) && object.spec.boundObjectRef != null ? object.spec.boundObjectRef.?kind.orValue('') : ''
"""
NULLABLE = "has(object.spec.@field) && object.spec.@field != null ? object.spec.@field : @missing"


def token_request_conditions() -> list[Condition]:
    """Return the conditions that keep nodes and the control plane out.

    Users are matched by name, not by group alone, because any user can be added to a group.
    """
    kinds = cel.listed(token_requests.WEBHOOK_KINDS)
    groups = "request.userInfo.?groups.orValue([])"
    node = f"{USERNAME}.startsWith('{token_requests.NODE_PREFIX}')\n  && '{token_requests.NODE_GROUP}' in {groups}"
    return [
        {"name": "not-a-node", "expression": f"!({node})"},
        not_the_control_plane(),
        {"name": "not-for-a-webhook", "expression": f"!(({BOUND_KIND.strip()}) in {kinds})"},
    ]


def not_the_control_plane() -> Condition:
    plane = f"{USERNAME} in {cel.listed(token_requests.CONTROL_PLANE)}"
    return {
        "name": "not-the-control-plane",
        "expression": f"!({plane})\n  && !{USERNAME}.startsWith('{token_requests.SYSTEM_ACCOUNTS}')",
    }


def asks_for_a_legacy_token() -> Condition:
    """Return the condition that a create or an update makes the token controller issue a token.

    An update does so if it names another account, or removes the token.
    """
    annotations = [
        f"object.metadata.?annotations[?'{name}'].orValue('')\n    != oldObject.metadata.?annotations[?'{name}'].orValue('')"
        for name in token_requests.ACCOUNT_ANNOTATIONS
    ]
    content = "object.?data[?'token'].orValue('') != oldObject.?data[?'token'].orValue('')"
    return {
        "name": "asks-for-a-legacy-token",
        "expression": "\n  || ".join(("request.operation == 'CREATE'", *annotations, content)),
    }


def _gate(annotation: str) -> list[Variable]:
    """Return the variables that decide whether anything is denied: mode and exemptions."""
    mode = cel.choice("bindingAnnotations", annotation, GOVERN_MODES, missing="off", bad="enforce")
    prefix = token_requests.ACCOUNT_PREFIX
    by_name, by_account = (
        cel.is_in(USERNAME, names.EXEMPT_USERNAMES),
        cel.is_in("variables.account", names.EXEMPT_SERVICE_ACCOUNTS),
    )
    exempt = f"{by_name}\n  || {by_account}"
    return [
        ("mode", "off, warn (which the webhook implements) or enforce.", mode),
        (
            "account",
            "The requester, if it is a service account.",
            cel.fill(ACCOUNT, username=USERNAME, prefix=prefix, length=len(prefix)),
        ),
        (
            "exempt",
            "Whether the configuration exempts the requester (not the account of the token).",
            exempt,
        ),
    ]


def token_request_variables() -> list[Variable]:
    """Return all variables. The last two are `violations` and `message`, as for pods."""
    default = cel.text(str(DEFAULT_MAXIMUM["bound"]))
    own = cel.seconds(
        "bindingAnnotations",
        names.TOKEN_REQUESTS_MAX_EXPIRATION_SECONDS,
        missing=default,
        bad=BAD_MAXIMUM,
    )
    seconds = cel.fill(
        NULLABLE, field="expirationSeconds", missing=names.API_DEFAULT_EXPIRATION_SECONDS
    )
    foreign = cel.truncate("variables.foreignAudiences", token_requests.MAX_LIST_CHARS)
    texts = {**TEXTS, "seconds": "string(variables.seconds)", "audiences": foreign}
    violations = cel.fill(
        VIOLATIONS,
        year=names.YEAR_SECONDS,
        one_year=cel.concat(token_requests.ONE_YEAR, **texts),
        lifetime=cel.concat(token_requests.LIFETIME, **texts),
        audience=cel.concat(token_requests.AUDIENCE, **texts),
    )
    whose = cel.concat(token_requests.DENIAL, account="request.name", namespace="request.namespace")
    return [
        *ANNOTATIONS,
        *_gate(names.TOKEN_REQUESTS),
        *MEASURES,
        ("own", "The maximum for TokenRequests.", own),
        (
            "maximum",
            "The smallest of lock, configuration and namespace.",
            cel.fill(MAXIMUM, limit=names.MAX_EXPIRATION_SECONDS_LIMIT),
        ),
        advised(),
        ("seconds", "Requested lifetime.", seconds),
        ("audiences", "Requested audiences.", cel.fill(NULLABLE, field="audiences", missing="[]")),
        ("boundKind", "The kind of object that it is bound to.", BOUND_KIND.strip()),
        (
            "oneYear",
            "Whether the API server would make the token valid for a year.",
            cel.fill(ONE_YEAR, trap=names.YEAR_TRAP_SECONDS),
        ),
        (
            "foreignAudiences",
            "Audiences that are not allowed.",
            cel.fill(FOREIGN, displayed=cel.displayed("a")),
        ),
        ("violations", "One sentence for each violation.", violations),
        ("message", "Account and violations.", f"{whose}\n  + variables.violations.join('. ')"),
    ]


def legacy_secret_variables() -> list[Variable]:
    """Return mode and exemptions only: every Secret that matches the policy is a violation."""
    return [ANNOTATIONS[0], *_gate(names.LEGACY_SECRETS)]
