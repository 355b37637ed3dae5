"""The audit policy, and where its rules go in another: judged by requests that a reimplementation
of the API server's evaluation answers for.
"""

import itertools
import random
from typing import Any, NamedTuple

import pytest
import yaml

from webhook import documents
from webhook.errors import BadInput
from webhook.tokens.audit.merging import merge, written
from webhook.tokens.audit.policy import NEEDS, TOKEN_REQUESTS, USES, complete, verdict

HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
ACCOUNT = ("system:serviceaccount:shop:cart", ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"))  # fmt: skip
OTHER_ACCOUNT = ("system:serviceaccount:kube-system:x", ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"))  # fmt: skip
PEOPLE = (("jane", ("developers", "system:authenticated")), ("system:node:a", ("system:nodes", "system:authenticated")))  # fmt: skip


class Attributes(NamedTuple):
    """Of a request, as the API server evaluates a policy."""

    user: str
    groups: tuple[str, ...]
    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def matches(rule: dict[str, Any], of: Attributes) -> bool:
    """apiserver/pkg/audit/policy/checker.go, ruleMatches."""
    if rule.get("users") and of.user not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(of.groups):
        return False
    if rule.get("verbs") and of.verb not in rule["verbs"]:
        return False
    if rule.get("namespaces") or rule.get("resources"):
        is_there = bool(of.resource) and of.namespace in (rule.get("namespaces") or [of.namespace])
        return is_there and any(
            matches_resource(group, of) for group in rule.get("resources") or [{"group": of.group}]
        )
    if rule.get("nonResourceURLs"):
        return not of.resource and any(
            url in ("*", of.path) or (url.endswith("*") and of.path.startswith(url[:-1]))
            for url in rule["nonResourceURLs"]
        )
    return True


def matches_resource(group: dict[str, Any], of: Attributes) -> bool:
    if group.get("group", "") not in (of.group, "*"):
        return False
    if not group.get("resources"):
        return True
    if group.get("resourceNames") and of.name not in group["resourceNames"]:
        return False
    resource, _, sub = of.resource.partition("/")
    own = {"*", of.resource, f"{resource}/*", *([f"*/{sub}"] if sub else [])}
    return bool(own & set(group["resources"]))


def recorded(policy: dict[str, Any], of: Attributes) -> tuple[str, tuple[str, ...]]:
    """Level and stages that are omitted."""
    for rule in policy.get("rules") or ():
        if matches(rule, of):
            stages = (*(policy.get("omitStages") or ()), *(rule.get("omitStages") or ()))
            return rule["level"], stages
    return "None", ()


def token_requests() -> list[Attributes]:
    return [
        Attributes(user, groups, "create", "", "serviceaccounts/token", namespace, name)
        for user, groups in (*PEOPLE, ACCOUNT, OTHER_ACCOUNT)
        for namespace, name in itertools.product(("shop", "kube-system"), ("cart", "x"))
    ]


def uses() -> list[Attributes]:
    return [
        Attributes(*account, verb, *about)
        for account in (ACCOUNT, OTHER_ACCOUNT)
        for verb in ("get", "list", "watch", "create", "delete")
        for about in (
            ("", "pods", "shop", "p"),
            ("", "pods/log", "kube-system", "p"),
            ("", "events", "shop", "e"),
            ("apps", "deployments", "shop", "x"),
            ("", "nodes", "", "n"),
            ("", "secrets", "shop", "cart"),
            ("", "", "", "", "/version"),
            ("", "", "", "", "/healthz/ping"),
        )
    ]


def is_complete(policy: dict[str, Any]) -> bool:
    wanting = [of for of in token_requests() if recorded(policy, of)[0] != "Request"]
    wanting += [of for of in uses() if recorded(policy, of)[0] == "None"]
    everything = [*token_requests(), *uses()]
    cut = [of for of in everything if "ResponseComplete" in recorded(policy, of)[1]]
    return not wanting and not cut


def test_our_own_is_complete_and_records_nothing_else() -> None:
    assert is_complete(complete())
    others = [
        Attributes(user, groups, verb, "", resource, "shop", "x")
        for user, groups in PEOPLE
        for verb, resource in (("get", "pods"), ("create", "pods"), ("get", "serviceaccounts/token"))
    ]  # fmt: skip
    assert {recorded(complete(), of)[0] for of in others} == {"None"}


def test_of_a_watch_only_the_end_is_recorded_and_of_an_exec_the_begin_too() -> None:
    watch = recorded(complete(), Attributes(*ACCOUNT, "watch", "", "pods", "shop"))
    assert watch == ("Metadata", ("RequestReceived", "ResponseStarted"))
    exec_ = recorded(complete(), Attributes(*ACCOUNT, "create", "", "pods/exec", "shop", "p"))
    assert exec_ == ("Metadata", ("RequestReceived",))


def test_the_text_is_the_policy() -> None:
    assert yaml.safe_load(written(complete(), NEEDS)) == complete()


TR = '{group: "", resources: [serviceaccounts/token]}'
RULES = {
    "drop health": "level: None\n  nonResourceURLs: [/healthz*, /version]",
    "drop kube-proxy": "level: None\n  users: [system:kube-proxy]\n  verbs: [watch]",
    "drop nodes": 'level: None\n  userGroups: ["system:nodes"]\n  verbs: [get]',
    "drop reads": "level: None\n  verbs: [get, list, watch]",
    "drop events": 'level: None\n  resources: [{group: "", resources: [events]}]',
    "drop a namespace": "level: None\n  namespaces: [kube-system]",
    "drop cluster objects": 'level: None\n  namespaces: [""]',
    "drop an account": 'level: None\n  users: ["system:serviceaccount:kube-system:x"]',
    "drop its group": 'level: None\n  userGroups: ["system:serviceaccounts:kube-system"]',
    "secrets": 'level: Metadata\n  resources: [{group: "", resources: [secrets, configmaps]}]',
    "tokens at Metadata": f"level: Metadata\n  resources: [{TR}]",
    "tokens at Request": f"level: Request\n  resources: [{TR}]",
    "one account's tokens": 'level: Request\n  resources: [{group: "", resources: [serviceaccounts/token], resourceNames: [cart]}]',
    "token itself": f"level: RequestResponse\n  resources: [{TR}]",
    "subresources": 'level: Request\n  resources: [{group: "*", resources: ["*/token"]}]',
    "core with bodies": 'level: RequestResponse\n  resources: [{group: ""}]',
    "writes": "level: Request\n  verbs: [create, update, patch, delete]",
    "without the end": "level: Metadata\n  omitStages: [ResponseComplete]",
    "accounts": 'level: Metadata\n  userGroups: ["system:serviceaccounts"]',
    "everybody": 'level: Metadata\n  userGroups: ["system:authenticated"]',
    "all": "level: Metadata",
    "nothing more": "level: None",
    "null lists": "level: None\n  users:\n  resources:\n  nonResourceURLs: [/healthz]",
}


def a_policy(*names: str) -> bytes:
    rules = "".join(f"# {name}\n- {RULES[name]}\n" for name in names)
    return f"{HEAD}rules:\n{rules}".encode()


@pytest.mark.parametrize("seed", range(300))
def test_any_policy_is_complete_afterwards_and_else_as_it_was(seed: int) -> None:
    names = random.Random(seed).choices(list(RULES), k=seed % 7)
    content = a_policy(*names) if names else f"{HEAD}rules: []\n".encode()
    merged = merge(content)
    before = yaml.safe_load(content)
    assert is_complete(merged.policy), names
    assert yaml.safe_load(merged.text) == merged.policy
    if is_complete(before):
        pass  # it may be so by several rules together, which are not looked at as one
    else:
        assert merged.policy != before
    for user, groups in PEOPLE:
        for verb, resource in (("get", "pods"), ("create", "secrets"), ("watch", "nodes")):
            of = Attributes(user, groups, verb, "", resource, "shop", "x")
            assert recorded(merged.policy, of) == recorded(before, of)
    again = merge(merged.text.encode())
    assert again.text == merged.text, names
    assert again.notes[-1] == "nothing has to be added"


NOTES = {
    ("all",): (
        "token requests: rules[0] (level Metadata) records some without audience, lifetime and bound object; ours go in front of it",
        "requests of service accounts: recorded by rules[0] (level Metadata)",
    ),
    ("drop health", "tokens at Request", "all"): (
        "token requests: recorded by rules[1] (level Request); ours go in front, because ours for service accounts stand before it",
        "requests of service accounts: rules[0] (level None) leaves some out; ours go in front of it",
    ),
    ("tokens at Request", "all"): (
        "token requests: recorded by rules[0] (level Request)",
        "requests of service accounts: recorded by rules[1] (level Metadata)",
    ),
    ("token itself",): (
        "token requests: rules[0] (level RequestResponse) writes the tokens themselves into the log; ours go in front of it",
        "requests of service accounts: no rule is about all of them; ours go to the end",
    ),
    ("without the end",): (
        "token requests: rules[0] (level Metadata) omits the stage ResponseComplete, which alone has the credential id; ours go in front of it",
        "requests of service accounts: rules[0] (level Metadata) omits the stage ResponseComplete, which alone has the credential id; ours go in front of it",
    ),
}


@pytest.mark.parametrize("names", NOTES, ids=" and ".join)
def test_it_says_what_is_recorded_already_and_where_ours_go(names: tuple[str, ...]) -> None:
    notes = merge(a_policy(*names)).notes
    assert set(notes) - {"nothing has to be added"} == set(NOTES[names])


def test_ours_stand_above_the_comments_of_the_rule_that_follows() -> None:
    content = f"""# ours since 2019
{HEAD}omitStages: [RequestReceived]   # they double everything
rules:
  - level: None   # nobody reads them
    resources: [{{group: "", resources: [endpoints]}}]
    users: ["system:kube-proxy"]

  # health checks,
  # of everybody
  -
    level: None
    nonResourceURLs: [/healthz]
  - level: Metadata

# end
"""
    lines = merge(content.encode()).text.splitlines()
    at = lines.index("  # health checks,")
    assert lines[at - 1] == "    omitStages: [RequestReceived]"
    assert [line for line in lines if "system:serviceaccounts" in line or "/token" in line] == [
        "      resources: [serviceaccounts/token]",
        *["    userGroups: ['system:serviceaccounts']"] * 2,
    ]
    assert "\n".join(lines[:9]) == "\n".join(content.splitlines()[:9])
    assert lines[at:] == content.splitlines()[9:]


@pytest.mark.parametrize(
    "content",
    [
        f"{HEAD}rules: [{{level: None, verbs: [get]}}, {{level: Metadata}}]\n",
        '{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "None"}]}',
        f"{HEAD}rules:\n",
        HEAD,
    ],
    ids=["in one line", "JSON", "no rules", "no key of rules"],
)
def test_rules_that_do_not_stand_in_lines_are_written_anew(content: str) -> None:
    merged = merge(content.encode())
    assert is_complete(merged.policy)
    assert yaml.safe_load(merged.text) == merged.policy
    assert "its comments are left out" in merged.notes[-1]


def test_a_text_that_only_libyaml_takes_is_a_policy() -> None:
    content = f"{HEAD}rules:\n- level: None\n  users:\n  - c\td\n".encode()
    (merged,) = documents.load(merge(content).text.encode(), 9999)
    assert is_complete(merged)


def test_a_rule_at_the_end_of_a_file_without_a_last_line_end() -> None:
    merged = merge(f"{HEAD}rules:\n- level: None\n  users: [a]".encode())
    assert is_complete(yaml.safe_load(merged.text))
    assert "\n- level: None\n  users: [a]\n# Each use of a token" in merged.text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rules: 1", "rules: must be a list"),
        ("rules: [1]", "rules[0]: must be a mapping"),
        ("rules: [{}]", "rules[0].level: must be one of None, Metadata, Request, RequestResponse"),
        ("rules: [{level: metadata}]", "rules[0].level: must be one of None, Metadata"),
        ("rules: [{level: None, users: x}]", "rules[0].users: must be a list of strings"),
        ("rules: [{level: None, verbs: [1]}]", "rules[0].verbs: must be a list of strings"),
        ("rules: [{level: None, resources: x}]", "rules[0].resources: must be a list"),
        ("rules: [{level: None, resources: [pods]}]", "rules[0].resources[0]: must be a mapping"),
        ("rules: [{level: None, resources: [{group: 1}]}]", "rules[0].resources[0]: must be a mapping with"),
        ("rules: [{level: None, resources: [{resources: pods}]}]", "resources and resourceNames must be lists"),
        ("rules: [{level: None, omitStages: [End]}]", 'rules[0].omitStages: "End" must be one of RequestReceived'),
        ("omitStages: [ResponseComplete]", "omitStages: must not have ResponseComplete"),
        ("omitStages: ResponseComplete", "omitStages: must be a list of strings"),
        ("a: &x 1", "line 3, column 4: must be YAML: anchors and aliases"),
        ("---", "must be one audit policy"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused_with_its_place(text: str, fault: str) -> None:
    with pytest.raises(BadInput) as refused:
        merge(f"{HEAD}{text}\n".encode())
    assert fault in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "x", "apiVersion: audit.k8s.io/v1beta1\nkind: Policy"])
def test_so_is_another_kind(text: str) -> None:
    with pytest.raises(BadInput, match="must "):
        merge(text.encode())


def test_a_verdict_names_the_rule_that_decides() -> None:
    rules = yaml.safe_load(a_policy("drop kube-proxy", "secrets", "tokens at Request", "all"))[
        "rules"
    ]
    assert verdict(TOKEN_REQUESTS, rules, [])[:2] == (True, 2)
    assert verdict(USES, rules, [])[:2] == (True, 3)
    assert verdict(USES, rules[:3], [])[:2] == (False, None)
    rules = yaml.safe_load(a_policy("drop cluster objects", "tokens at Request"))["rules"]
    assert verdict(TOKEN_REQUESTS, rules, [])[:2] == (True, 1)
