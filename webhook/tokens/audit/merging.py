"""Our rules in a policy that somebody else wrote: each in front of the first rule that would
swallow what it is for, with the text of the rest as it stands.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from ... import documents
from ...core.text import quote
from ...errors import BadInput
from .policy import (
    API_VERSION,
    KIND,
    LEVELS,
    STAGES,
    TOKEN_REQUESTS,
    USES,
    Need,
    Rule,
    Verdict,
    verdict,
)

MAX_BYTES = 1 << 20
"""Google's and OpenShift's policies have 5 to 10 KB."""
_LISTS = ("users", "userGroups", "verbs", "namespaces", "nonResourceURLs", "omitStages")


_Item = tuple[str, Rule]
"""A rule, and the comment above it where it is ours."""


class Merged(NamedTuple):
    """The policy with our rules: its text and itself. `notes` say what it recorded before, and
    where ours went.
    """

    text: str
    policy: dict[str, Any]
    notes: tuple[str, ...]


def merge(content: bytes) -> Merged:
    """The policy in a file's content with what it lacks.

    Raises: BadInput, with every fault
    """
    policy = _policy(content)
    given: list[Rule] = policy.get("rules") or []
    omitted = policy.get("omitStages") or []
    items: list[_Item] = [("", rule) for rule in given]
    notes = []
    # Ours for uses would swallow the TokenRequests of service accounts, so those come second.
    for need in (USES, TOKEN_REQUESTS):
        before = verdict(need, given, omitted)
        now = verdict(need, [rule for _, rule in items], omitted)
        if not now.is_recorded:
            at = len(items) if now.number is None else now.number
            while at and items[at - 1][0]:  # not between ours
                at -= 1
            items[at:at] = need.rules
        notes.append(_note(need, before, given, is_recorded=now.is_recorded))
    if len(items) == len(given):
        return Merged(content.decode(), policy, (*notes, "nothing has to be added"))
    merged = {**policy, "rules": [rule for _, rule in items]}
    text = _inserted(content.decode(), items)
    if text is None or not _is_of(text, merged):
        notes.append(
            "its comments are left out, because its rules do not stand in lines of their own"
        )
        text = yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=120)
    return Merged(text, merged, tuple(notes))


def _note(need: Need, before: Verdict, given: list[Rule], *, is_recorded: bool) -> str:
    place = ""
    if before.number is not None:
        place = f"rules[{before.number}] (level {given[before.number]['level']})"
    if is_recorded:
        return f"{need.title}: recorded by {place}"
    if before.is_recorded:
        return f"{need.title}: recorded by {place}; ours go in front, because ours for service accounts stand before it"
    if place:
        return f"{need.title}: {place} {before.reason}; ours go in front of it"
    return f"{need.title}: {before.reason}; ours go to the end"


def _inserted(text: str, items: list[_Item]) -> str | None:
    """The text with our rules in it, in front of the comments of the rule that follows; None where
    the rules do not stand one below the other.
    """
    if not text.endswith("\n"):
        text += "\n"  # where the last rule ends would be in its last line
    sequence = _sequence(text)
    if sequence is None or sequence.flow_style or not sequence.value:
        return None
    lines = text.splitlines(keepends=True)
    indent = sequence.start_mark.column
    begins = [_begin(lines, node.start_mark.line, indent) for node in sequence.value]
    begins.append(_end(lines, sequence.value[-1].end_mark.line))
    number = 0
    ours: list[tuple[int, str]] = []
    for comment, rule in items:
        if comment:
            ours.append((begins[number], _rule(comment, rule, indent)))
        else:
            number += 1
    for line, block in reversed(ours):
        lines.insert(line, block)
    return "".join(lines)


def _is_of(text: str, policy: dict[str, Any]) -> bool:
    try:
        return documents.load(text.encode(), 2 * MAX_BYTES) == [policy]
    except BadInput:
        return False


def _sequence(text: str) -> yaml.SequenceNode | None:
    # The parser of documents.load, which takes some texts that PyYAML's own does not.
    root = yaml.compose(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "rules" and isinstance(value, yaml.SequenceNode):
            return value
    return None


def _begin(lines: list[str], line: int, indent: int) -> int:
    """The line where a rule begins: that of its dash, or of the comments above."""
    while line > 0 and not lines[line][indent:].startswith("-"):
        line -= 1
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line


def _end(lines: list[str], line: int) -> int:
    """The line behind the last rule, without the comments and blank lines that follow."""
    line = min(line, len(lines))
    while line > 0 and (not (bare := lines[line - 1].strip()) or bare.startswith("#")):
        line -= 1
    return line


def _policy(content: bytes) -> dict[str, Any]:
    """Raises: BadInput, with every fault"""
    loaded = documents.load(content, MAX_BYTES)
    if len(loaded) != 1 or not isinstance(policy := loaded[0], dict):
        raise BadInput("must be one audit policy")
    if (policy.get("apiVersion"), policy.get("kind")) != (API_VERSION, KIND):
        raise BadInput(f"must have apiVersion: {API_VERSION} and kind: {KIND}")
    faults = list(_faults_of_stages(policy.get("omitStages"), "omitStages"))
    if "ResponseComplete" in (policy.get("omitStages") or ()):
        faults.append(
            "omitStages: must not have ResponseComplete, which alone has the credential id; no rule can bring it back"
        )
    rules = policy.get("rules")
    if not isinstance(rules, list | None):
        faults.append("rules: must be a list")
    else:
        for number, rule in enumerate(rules or ()):
            faults += _faults(rule, f"rules[{number}]")
    if faults:
        raise documents.refusal(faults)
    return policy


def _faults(rule: Any, where: str) -> Iterator[str]:
    if not isinstance(rule, dict):
        yield f"{where}: must be a mapping"
        return
    if rule.get("level") not in LEVELS:
        yield f"{where}.level: must be one of {', '.join(LEVELS)}"
    for key in _LISTS:
        if not _is_list_of_texts(rule.get(key)):
            yield f"{where}.{key}: must be a list of strings"
    yield from _faults_of_stages(rule.get("omitStages"), f"{where}.omitStages")
    groups = rule.get("resources")
    if not isinstance(groups, list | None):
        yield f"{where}.resources: must be a list"
        return
    for number, group in enumerate(groups or ()):
        if not isinstance(group, dict) or not isinstance(group.get("group") or "", str):
            yield f"{where}.resources[{number}]: must be a mapping with group and resources"
        elif not all(_is_list_of_texts(group.get(key)) for key in ("resources", "resourceNames")):
            yield f"{where}.resources[{number}]: resources and resourceNames must be lists of strings"


def _faults_of_stages(value: Any, where: str) -> Iterator[str]:
    if _is_list_of_texts(value):
        for stage in value or ():
            if stage not in STAGES:
                yield f"{where}: {quote(stage)} must be one of {', '.join(STAGES)}"
    elif where == "omitStages":
        yield f"{where}: must be a list of strings"


def _is_list_of_texts(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(item, str) for item in value)
    )


def written(policy: dict[str, Any], needs: tuple[Need, ...]) -> str:
    """Our own policy as text, with comments."""
    head = f"apiVersion: {policy['apiVersion']}\nkind: {policy['kind']}\nrules:\n"
    entries = [entry for need in needs for entry in need.rules]
    return head + "".join(_rule(comment, rule, 0) for comment, rule in entries)


def _rule(comment: str, rule: Rule, indent: int) -> str:
    dumped = yaml.safe_dump([rule], sort_keys=False, width=120, default_flow_style=None)
    lines = [f"# {comment}", *dumped.splitlines()]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)
