"""`boundtoken token rbac`: Roles for requesting tokens, and who may request them today."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import yaml

from ...errors import BadInput, BoundtokenError
from ...tokens.rbac.grants import SUPERUSERS, Grant, Review, applies, review
from ...tokens.rbac.objects import Binding, Objects, Role, Subject
from ...tokens.rbac.reading import read_objects
from ...tokens.rbac.roles import RoleSpec, manifests, needs_of, remarks, subject_of
from ..process import say
from .access import access
from .table import Table

ELSEWHERE = (
    f"group {SUPERUSERS} may always, whatever roles say; nodes may for pods that run on them; "
    "other authorizers and admission are not looked at, nor other ways to a token: pods, Secrets, impersonation"
)


def rbac(parsed: argparse.Namespace) -> int:
    """Print the Role and its binding; with --check who may today."""
    try:
        subjects = tuple(dict.fromkeys(subject_of(text) for text in parsed.subject))
    except ValueError as problem:
        raise BadInput(f"--for: {problem}") from None
    if parsed.check:
        return _check(parsed, subjects)
    if parsed.output == "table":
        raise BadInput("-o table goes with --check")
    try:
        needs = needs_of(_items(parsed.verb), _items(parsed.resource), _items(parsed.resource_name))
        spec = RoleSpec(
            _namespace(parsed),
            subjects,
            tuple(dict.fromkeys(parsed.account)),
            needs,
            parsed.name or "",
        )
        objects = manifests(spec)
    except ValueError as problem:
        raise BadInput(str(problem)) from None
    if parsed.output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    else:
        print(yaml.safe_dump_all(objects, sort_keys=False), end="")
    for remark in remarks(spec):
        say(remark)
    return 0


def _namespace(parsed: argparse.Namespace) -> str:
    """Without a cluster where the flag says it."""
    return str(parsed.namespace or access(parsed).namespace)


def _items(given: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(part.strip() for text in given for part in text.split(",")))


def _check(parsed: argparse.Namespace, subjects: Sequence[Subject]) -> int:
    if parsed.verb or parsed.resource or parsed.resource_name or parsed.name:
        raise BadInput(
            "--check looks for rights to request tokens: leave out --verb, --resource and --name"
        )
    if parsed.output == "yaml":
        raise BadInput("--check prints -o table or json")
    chosen = access(parsed)
    namespace = chosen.namespace if parsed.account else (parsed.namespace or "")
    progress = _progress()
    objects = read_objects(chosen.server, namespace, progress)
    if progress is not None:  # the result may go to the same terminal
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    found = review(objects)
    if subjects:
        found = found._replace(unbound=())
    grants = [
        grant
        for grant in found.grants
        if (not parsed.account or any(grant.is_for(namespace, name) for name in parsed.account))
        and (not subjects or any(applies(grant.subject, one) for one in subjects))
    ]
    missing = _missing(grants, subjects, namespace, parsed.account)
    if parsed.output == "json":
        print(json.dumps(_json(grants, found, objects, missing), indent=2))
    else:
        shown = Table(*HEADINGS, longest=None)
        for row in (*map(_row, grants), *map(_unbound_row, found.unbound)):
            shown.add(*row)
        shown.done()
    _remark(found, objects, missing)
    if objects.unread:
        raise BoundtokenError("not everything could be read, so this may not be all")
    return 1 if missing else 0


class Missing(NamedTuple):
    """Somebody of --for who may not request tokens of an account; of none at all where it is empty,
    and in no namespace where that is.
    """

    subject: Subject
    namespace: str
    account: str

    def __str__(self) -> str:
        text = f"{_subject(self.subject)} may not request tokens"
        if self.account:
            return f"{text} of {self.namespace}/{self.account}"
        return text + (f" in namespace {self.namespace}" if self.namespace else "")


def _missing(
    grants: Sequence[Grant], subjects: Sequence[Subject], namespace: str, accounts: Sequence[str]
) -> list[Missing]:
    """Who of --for may not."""
    return [
        Missing(subject, namespace, account)
        for subject in subjects
        for account in accounts or ("",)
        if not any(
            applies(grant.subject, subject) and (not account or grant.is_for(namespace, account))
            for grant in grants
        )
    ]


HEADINGS = ("SUBJECT", "NAMESPACE", "ACCOUNTS", "BINDING", "ROLE", "WILDCARDS")


def _row(grant: Grant) -> tuple[str, ...]:
    return (
        _subject(grant.subject),
        grant.namespace or "(all)",
        ",".join(grant.accounts) or "(all)",
        _kind(grant.binding),
        _role(grant.role),
        ",".join(grant.wildcards) or "-",
    )


def _unbound_row(role: Role) -> tuple[str, ...]:
    return ("(nobody)", role.metadata.namespace or "-", "-", "-", _role(role), "-")


def _role(role: Role) -> str:
    return _kind(role) + (" (aggregated)" if role.aggregation_rule else "")


def _subject(subject: Subject) -> str:
    name = f"{subject.namespace}/{subject.name}" if subject.namespace else subject.name
    return f"{subject.kind} {name}"


def _kind(found: Role | Binding) -> str:
    kind = "Binding" if isinstance(found, Binding) else ""
    kind = f"Role{kind}" if found.metadata.namespace else f"ClusterRole{kind}"
    return f"{kind}/{found.metadata.name}"


def _json(
    grants: Sequence[Grant],
    found: Review,
    objects: Objects,
    missing: Sequence[Missing],
) -> dict[str, Any]:
    return {
        "grants": [
            {
                "subject": msgspec.to_builtins(grant.subject),
                "scope": "namespace" if grant.namespace else "cluster",
                "namespace": grant.namespace or None,
                "accounts": list(grant.accounts) or None,
                "binding": _kind(grant.binding),
                "role": _kind(grant.role),
                "aggregated": grant.role.aggregation_rule is not None,
                "rule": msgspec.to_builtins(grant.rule),
                "wildcards": list(grant.wildcards),
            }
            for grant in grants
        ],
        "missing": [
            {
                "subject": msgspec.to_builtins(one.subject),
                "namespace": one.namespace or None,
                "account": one.account or None,
            }
            for one in missing
        ],
        "unboundRoles": [_kind(role) for role in found.unbound],
        "superusers": SUPERUSERS,
        "grantNothing": [_kind(role) for role in found.lookalikes],
        "unread": [{"what": unread.what, "why": unread.why} for unread in objects.unread],
    }


def _remark(found: Review, objects: Objects, missing: Sequence[Missing]) -> None:
    say(ELSEWHERE)
    for role in found.lookalikes:
        say(f"{_kind(role)}: serviceaccounts/* grants nothing, RBAC has no such wildcard")
    for one in missing:
        say(str(one))
    if any(one.subject.kind == "User" for one in missing):
        say("in which groups a user is cannot be known here: --for group:NAME asks for each")
    for unread in objects.unread:
        say(str(unread))


def _progress() -> Any:
    """For a terminal: one line that says how far reading is."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None

    def show(what: str, count: int) -> None:
        print(f"\r\x1b[Kreading {what}: {count}\r", end="", file=sys.stderr, flush=True)

    return show
