"""Checks of the webhook configurations beside the manifests of this release."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from ..core import names
from ..simulation import calling
from ..simulation.calling import Configuration, Entry, Rule, Selector, call_for
from . import shipped
from .facts import MUTATING, NOT_LOOKED_AT, Installation
from .model import (
    AGAIN,
    APPLY,
    Check,
    Finding,
    all_of,
    failed,
    is_name,
    listed,
    passed,
    there,
    warning,
    worst,
)
from .objects import LEGACY_FLAG, Deployment

GROUP = "Webhook configurations"
KINDS = {resource: resource.removesuffix("s") for resource in shipped.ENTRIES}
FAILS_CLOSED = (
    "That is what the component legacy-tokens-fail-closed (legacyTokens.failClosed of the chart) is for. "
    "Keep it if legacy tokens must be refused in an outage too; else take it out."
)
"""The cure of an entry that fails closed because somebody has chosen it."""
RULE_IS_OFF = "Add the component legacy-tokens, which sets --legacy-tokens=on, or take legacy-tokens-fail-closed out."
"""And of one that does so for a rule that is off."""
LEFT_OVER = (
    "It is left of another installation, and no apply changes it: delete it, or the entries of "
    "boundtoken in it."
)
"""The cure of a configuration that is there beside that of this release."""


def configurations(seen: Installation) -> Finding:
    """Whether each entry of this release is there."""
    present: dict[str, set[str]] = {resource: set() for resource in shipped.ENTRIES}
    for resource, entry in seen.entries():
        present[resource].add(entry.name)
    problems = []
    for resource, entries in shipped.ENTRIES.items():
        if not present[resource]:
            problems.append(f"no {KINDS[resource]} has an entry of boundtoken")
            continue
        problems += [
            f"{KINDS[resource]}/{names.APP} has no entry {entry.name}"
            for entry in entries
            if entry.name not in present[resource]
        ]
    count = sum(map(len, shipped.ENTRIES.values()))
    twice = [
        f"{KINDS[resource]}s {', '.join(titles)} have entries of boundtoken: one is left of another "
        "installation"
        for resource in shipped.ENTRIES
        if len(titles := _titles(seen, resource)) > 1
    ]
    removals = (one for commands in _left_over(seen).values() for one in commands)
    more = all_of(twice, *removals, status="warning")
    return worst(all_of(problems, APPLY), more, text=f"{count} entries")


def _titles(seen: Installation, resource: str) -> list[str]:
    """The configurations that have entries of ours."""
    found = there(seen.configurations.get(resource, NOT_LOOKED_AT))
    return [one.metadata.name for one in found if any(e.is_ours for e in one.webhooks or ())]


def _left_over(seen: Installation) -> dict[str, tuple[str, ...]]:
    """The configurations that are there beside that of this release, which no apply mends or takes
    away, each with the command that does; none where it has entries of others too.
    """
    found: dict[str, tuple[str, ...]] = {}
    for resource in shipped.ENTRIES:
        if names.APP not in _titles(seen, resource):
            continue
        for one in there(seen.configurations.get(resource, NOT_LOOKED_AT)):
            name, entries = one.metadata.name, one.webhooks or ()
            if name != names.APP and any(entry.is_ours for entry in entries):
                is_whole = is_name(name) and all(entry.is_ours for entry in entries)
                command = f"kubectl delete {KINDS[resource]} {name}"
                found[f"{KINDS[resource]}/{name}"] = (command,) if is_whole else ()
    return found


def _of_entries(judge: Callable[[Entry, Entry], Finding]) -> Callable[[Installation], Finding]:
    """A check of every entry; what is found names the entry, and the configuration where that is
    left over.
    """

    def check(seen: Installation) -> Finding:
        found, left_over = [], _left_over(seen)
        for title, _, present, ours in _places(seen):
            finding, name = judge(present, ours), present.name
            if title in left_over:
                name = f"{title}, {name}"
                finding = finding._replace(commands=left_over[title], cure=LEFT_OVER)
            found.append(finding._replace(text=f"{name}: {finding.text}"))
        if not found:
            return Finding("unknown", "there is no entry of boundtoken")
        return worst(*found, text="as in the manifests")

    return check


def rules(present: Entry, ours: Entry) -> Finding:
    """A request that no rule names is never sent."""
    lacking = [one for one in _requests(ours) if not any(map(one.is_in, present.rules or ()))]
    more = [one for one in _requests(present) if not any(map(one.is_in, ours.rules or ()))]
    if lacking:
        return failed(f"no rule for {listed(sorted(map(str, lacking)), ', ')}", APPLY)
    if more:
        text = f"also called for {listed(sorted(map(str, more)), ', ')}"
        return Finding("warning", text, (APPLY,))
    return passed()


class _Request(NamedTuple):
    """What a rule names; each part may be a *."""

    operation: str
    group: str
    version: str
    resource: str
    scope: str

    def __str__(self) -> str:
        version = "" if self.version == "v1" else f" of {self.version}"
        scope = "" if self.scope == "*" else f", {self.scope}"
        return f"{self.operation} {self.resource}.{self.group}".rstrip(".") + version + scope

    def is_in(self, rule: Rule) -> bool:
        """Whether a rule names it too."""
        return (
            rule.scope in ("*", self.scope)
            and calling.lists(rule.operations, self.operation)
            and calling.lists(rule.api_groups, self.group)
            and calling.lists(rule.api_versions, self.version)
            and calling.lists(rule.resources, self.resource)
        )


def _requests(entry: Entry) -> Iterator[_Request]:
    for rule in entry.rules or ():
        parts = (rule.operations, rule.api_groups, rule.api_versions, rule.resources)
        for operation, group, version, resource in itertools.product(*(one or () for one in parts)):
            yield _Request(operation, group, version, resource, rule.scope)


def selectors(present: Entry, ours: Entry) -> Finding:
    found = []
    for what, has, expected in _selectors(present, ours):
        text = f"{what} is {_text(has)}, and {_text(expected)} in the manifests"
        found.append(Finding("warning", text))
    return worst(*found)


def _selectors(
    present: Entry, ours: Entry
) -> Iterator[tuple[str, Selector | None, Selector | None]]:
    """The selectors that differ: their field, what is there, and what is in the manifests."""
    for what, has, expected in (
        ("namespaceSelector", present.namespace_selector, ours.namespace_selector),
        ("objectSelector", present.object_selector, ours.object_selector),
    ):
        if _normal(has) != _normal(expected):
            yield what, has, expected


def of_selectors(seen: Installation) -> Finding:
    """The selectors of every entry, with the commands that put them right: an apply takes out
    nothing that somebody else added.
    """
    finding = _of_entries(selectors)(seen)
    return finding._replace(commands=tuple(dict.fromkeys(_patches(seen))))


def _patches(seen: Installation) -> Iterator[str]:
    """A command for each selector that differs. It changes nothing where the entry has another
    place since.
    """
    left_over = _left_over(seen)
    for title, number, entry, ours in _places(seen):
        if not is_name(title.partition("/")[2]):
            continue
        if title in left_over:
            yield from left_over[title] if any(_selectors(entry, ours)) else ()
            continue
        for what, _, expected in _selectors(entry, ours):
            place = f"/webhooks/{number}"
            operations = [
                {"op": "test", "path": f"{place}/name", "value": entry.name},
                {"op": "add", "path": f"{place}/{what}", "value": _plain(expected)},
            ]
            patch = msgspec.json.encode(operations).decode()
            yield f"kubectl patch {title} --type=json -p '{patch}'"


def _places(seen: Installation) -> Iterator[tuple[str, int, Entry, Entry]]:
    """Each entry that is there with its configuration, its number in it, and the shipped one."""
    for resource, entries in shipped.ENTRIES.items():
        ours = {entry.name: entry for entry in entries}
        for configuration in there(seen.configurations.get(resource, NOT_LOOKED_AT)):
            name = configuration.metadata.name
            for number, entry in enumerate(configuration.webhooks or ()):
                if entry.name in ours:
                    yield f"{KINDS[resource]}/{name}", number, entry, ours[entry.name]


def _plain(selector: Selector | None) -> dict[str, Any]:
    """A selector without what it leaves out."""
    found = msgspec.to_builtins(selector) if selector is not None else {}
    return {key: value for key, value in found.items() if value}


def _normal(selector: Selector | None) -> list[tuple[str, str, list[str]]]:
    """The requirements without their order."""
    if selector is None:
        return []
    equal = [(key, "In", [value]) for key, value in (selector.match_labels or {}).items()]
    others = [
        (one.key, one.operator, sorted(one.values or ()))
        for one in selector.match_expressions or ()
    ]
    return sorted([*equal, *others])


def _text(selector: Selector | None) -> str:
    return str(selector or "") or "empty"


def conditions(present: Entry, ours: Entry) -> Finding:
    has, expected = _expressions(present), _expressions(ours)
    found = [f"matchCondition {name} is missing" for name in expected if name not in has]
    chosen = shipped.FAIL_CLOSED.name if _fails_closed_by_choice(present) else ""
    found += [f"there is one more, {name}" for name in has if name not in (*expected, chosen)]
    never = [name for name, expression in has.items() if expression == "false"]
    if never:
        return failed(f"matchCondition {never[0]} is false: it is never called", APPLY)
    found += [
        f"matchCondition {name} has another expression"
        for name, expression in expected.items()
        if has.get(name, expression) != expression
    ]
    return all_of(found, APPLY, status="warning")


def _expressions(entry: Entry) -> dict[str, str]:
    return {one.name: " ".join(one.expression.split()) for one in entry.match_conditions or ()}


def _fails_closed_by_choice(entry: Entry) -> bool:
    """Whether it is as the component legacy-tokens-fail-closed makes it."""
    name, expression = shipped.FAIL_CLOSED.name, shipped.FAIL_CLOSED.expression
    return entry.failure_policy == "Fail" and _expressions(entry).get(name) == expression


def of_policies(seen: Installation) -> Finding:
    """The policies of every entry; one that fails closed by choice needs the rule for which it
    does, where the Deployment tells.
    """
    deployment = seen.deployment
    is_off = isinstance(deployment, Deployment) and not deployment.looks_for_legacy_tokens

    def check(present: Entry, ours: Entry) -> Finding:
        return policies(present, ours, is_off=is_off)

    return _of_entries(check)(seen)


def policies(present: Entry, ours: Entry, *, is_off: bool) -> Finding:
    """What happens while nobody answers, and whether we are called again; `is_off` is whether
    nobody looks for legacy tokens.
    """
    found = []
    if present.failure_policy != ours.failure_policy:
        text = f"failurePolicy is {present.failure_policy}: while no replica answers, requests are refused"
        if not _fails_closed_by_choice(present):
            found.append(failed(text, APPLY))
        elif is_off:
            why = f"for a rule that is off: the Deployment has no {LEGACY_FLAG}=on"
            found.append(warning(f"{text}, {why}", cure=RULE_IS_OFF))
        else:
            found.append(warning(text, cure=FAILS_CLOSED))
    for field, has, expected in (
        ("matchPolicy", present.match_policy, ours.match_policy),
        ("reinvocationPolicy", present.reinvocation_policy, ours.reinvocation_policy),
        ("sideEffects", present.side_effects, ours.side_effects),
    ):
        if has != expected:
            text = f"{field} is {has}, and {expected} in the manifests"
            found.append(Finding("warning", text, (APPLY,)))
    return worst(*found)


def timeouts(present: Entry, ours: Entry) -> Finding:
    has, expected = present.timeout_seconds, ours.timeout_seconds
    text = f"timeoutSeconds is {has}, and {expected} in the manifests"
    return passed() if has == expected else Finding("warning", text, (APPLY,))


def clients(seen: Installation) -> Finding:
    """Whether each entry calls our Service, at its port and path."""

    def check(present: Entry, ours: Entry) -> Finding:
        service, expected = present.client_config.service, ours.client_config.service
        if service is None or expected is None:
            return Finding("warning", "it calls a URL and no Service")
        found = [
            f"it calls {what} {has}, and must call {must}"
            for what, has, must in (
                ("service", service.name, expected.name),
                ("namespace", service.namespace, seen.own),
                ("port", service.port, expected.port),
                ("path", service.path or "/", expected.path),
            )
            if has != must
        ]
        return all_of(found, APPLY)

    return _of_entries(check)(seen)


def _anywhere(configuration: Configuration) -> Configuration:
    """The configuration as it is for the namespaces and pods that its entries select."""
    entries = (
        msgspec.structs.replace(entry, namespace_selector=None, object_selector=None)
        for entry in configuration.webhooks or ()
    )
    return msgspec.structs.replace(configuration, webhooks=tuple(entries))


def others(seen: Installation) -> Finding:
    """Mutating webhooks for pods that are called after us may undo what we did."""
    found = there(seen.configurations.get(MUTATING, NOT_LOOKED_AT))
    pod = call_for({"apiVersion": "v1", "kind": "Pod"}, "default", None)
    chain = calling.others(tuple(map(_anywhere, found)), pod)
    if chain.after:
        text = f"called after boundtoken, or may be: {listed(list(chain.after), ', ')}"
        return Finding("warning", text)
    before = listed(list(chain.before), ", ")
    return passed(f"called before it: {before}" if before else "there is none")


def checks() -> Iterator[Check[Installation]]:
    again = (
        f"{AGAIN} Keep the difference if you made it. Applying does not remove what somebody "
        "else added: edit the webhook configuration."
    )
    yield Check(
        "webhook-entries",
        GROUP,
        "every entry is there",
        AGAIN,
        configurations,
    )
    yield Check("webhook-rules", GROUP, "the rules name every request", again, _of_entries(rules))
    yield Check(
        "webhook-selectors",
        GROUP,
        "the selectors are those of this release",
        again,
        of_selectors,
    )
    yield Check(
        "webhook-conditions",
        GROUP,
        "the matchConditions are those of this release",
        again,
        _of_entries(conditions),
    )
    yield Check("webhook-policies", GROUP, "the webhooks fail open", again, of_policies)
    yield Check("webhook-timeouts", GROUP, "the timeouts are short", again, _of_entries(timeouts))
    yield Check("webhook-service", GROUP, "the entries call boundtoken's Service", again, clients)
    yield Check(
        "other-webhooks",
        GROUP,
        "no other webhook changes pods afterwards",
        "Make sure that it leaves boundtoken's volume alone: boundtoken explain shows it for each pod.",
        others,
    )
