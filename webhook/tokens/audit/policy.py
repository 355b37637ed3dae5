"""The audit policy that a trace and a watch need, at the least cost, and what another policy
records of it.

Who matches is apiserver/pkg/audit/policy/checker.go: the first rule that matches decides, and a
request that none matches is not recorded. What is needed, as seen in the log of a 1.37 API server:
- TokenRequests at level Request: the body has audience, lifetime and bound object. Never at
  RequestResponse, which writes the token itself into the log.
- Requests of service accounts at level Metadata: who uses a token is in the user's extra, and
  stale and legacy tokens are in annotations. Their group is system:serviceaccounts.
- Of the stages only the last, which has all of it; of an exec, a port-forward or a log also the
  first, because it may last for hours. A watch begins again every few minutes.
"""

from typing import Any, NamedTuple

Rule = dict[str, Any]

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
ACCOUNTS = "system:serviceaccounts"
AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
ACCOUNT_PREFIX = "system:serviceaccount:"
API_VERSION, KIND = "audit.k8s.io/v1", "Policy"


class Need(NamedTuple):
    """Something that must be recorded: our rules for it, each with the comment above it."""

    title: str
    rules: tuple[tuple[str, Rule], ...]


TOKEN_REQUESTS = Need(
    "token requests",
    (
        (
            "Who requests which token. Never RequestResponse: that writes the token into the log.",
            {
                "level": "Request",
                "verbs": ["create"],
                "resources": [{"group": "", "resources": ["serviceaccounts/token"]}],
                "omitStages": ["RequestReceived"],
            },
        ),
    ),
)
USES = Need(
    "requests of service accounts",
    (
        (
            "Each use of a token: credential id, stale and legacy tokens. Of a watch only its end.",
            {
                "level": "Metadata",
                "userGroups": [ACCOUNTS],
                "verbs": ["watch"],
                "omitStages": ["RequestReceived", "ResponseStarted"],
            },
        ),
        (
            "The same of everything else; of what lasts long, such as an exec, also its begin.",
            {
                "level": "Metadata",
                "userGroups": [ACCOUNTS],
                "omitStages": ["RequestReceived"],
            },
        ),
    ),
)
NEEDS = (TOKEN_REQUESTS, USES)


def complete() -> dict[str, Any]:
    """A whole policy of nothing but our rules."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "rules": [rule for need in NEEDS for _, rule in need.rules],
    }


class Verdict(NamedTuple):
    """What a policy records of a need. `number` is the index of the rule that decides, or None
    where no rule is about it. `is_recorded` says that nothing has to be added.
    """

    is_recorded: bool
    number: int | None
    reason: str


def verdict(need: Need, rules: list[Rule], omitted: list[str]) -> Verdict:
    """What these rules record of a need; `omitted` are the stages that the whole policy omits."""
    matches, covers = (
        (_may_match_a_token_request, _covers_token_requests)
        if need is TOKEN_REQUESTS
        else (_may_match_an_account, _covers_accounts)
    )
    for number, rule in enumerate(rules):
        if not matches(rule):
            continue
        if reason := _shortcoming(need, rule, omitted):
            return Verdict(is_recorded=False, number=number, reason=reason)
        if covers(rule):
            return Verdict(is_recorded=True, number=number, reason="")
    return Verdict(is_recorded=False, number=None, reason="no rule is about all of them")


def _shortcoming(need: Need, rule: Rule, omitted: list[str]) -> str:
    """Why what a rule records is not enough, or too much; empty where it is right."""
    level = rule["level"]
    if level == "None":
        return "leaves some out"
    if "ResponseComplete" in (*omitted, *(rule.get("omitStages") or ())):
        return "omits the stage ResponseComplete, which alone has the credential id"
    if need is TOKEN_REQUESTS and level == "Metadata":
        return "records some without audience, lifetime and bound object"
    if need is TOKEN_REQUESTS and level == "RequestResponse":
        return "writes the tokens themselves into the log"
    return ""


def _may_match_a_token_request(rule: Rule) -> bool:
    verbs, namespaces = (rule.get("verbs") or ()), (rule.get("namespaces") or ())
    if verbs and "create" not in verbs:
        return False
    if namespaces and not any(namespaces):  # "" is what has no namespace
        return False
    if not namespaces and not rule.get("resources") and rule.get("nonResourceURLs"):
        return False
    groups = rule.get("resources") or ()
    return not groups or any(map(_may_be_of_token_requests, groups))


def _may_be_of_token_requests(group: Rule) -> bool:
    resources = group.get("resources") or ()
    return (group.get("group") or "") in ("", "*") and (
        not resources
        or not {"*", "serviceaccounts/token", "serviceaccounts/*", "*/token"}.isdisjoint(resources)
    )


def _covers_token_requests(rule: Rule) -> bool:
    """Whether all of them match, given that some do."""
    groups = rule.get("userGroups") or ()
    return (
        not rule.get("users")
        and (not groups or {AUTHENTICATED, UNAUTHENTICATED} <= set(groups))
        and not rule.get("namespaces")
        and (
            not rule.get("resources")
            or any(
                _may_be_of_token_requests(group) and not group.get("resourceNames")
                for group in rule["resources"]
            )
        )
    )


def _may_match_an_account(rule: Rule) -> bool:
    users, groups = (rule.get("users") or ()), (rule.get("userGroups") or ())
    if users and not any(user.startswith(ACCOUNT_PREFIX) for user in users):
        return False
    return not groups or any(
        group in (ACCOUNTS, AUTHENTICATED) or group.startswith(f"{ACCOUNTS}:") for group in groups
    )


def _covers_accounts(rule: Rule) -> bool:
    groups = rule.get("userGroups") or ()
    return (not groups or not {ACCOUNTS, AUTHENTICATED}.isdisjoint(groups)) and not any(
        rule.get(key) for key in ("users", "verbs", "resources", "namespaces", "nonResourceURLs")
    )
