"""What is to be done, as findings: an object, a sentence, and a command where one does it."""

from collections.abc import Iterator

from ..core.text import truncate
from ..simulation import living
from .coverage import is_of_the_cluster
from .groups import Group
from .report import Code, Finding, Secret, ServiceAccount, Severity, is_year_long
from .space import Space

MAX_MESSAGE_CHARS = 1000
MAX_FAULTS = 4
"""Of one object."""
INJECT = "boundtoken.dev/inject=replace boundtoken.dev/automount=disabled"


def of_group(group: Group) -> Iterator[Finding]:
    """What is to be done about the pods of an owner."""
    again = group.again
    if again is not None and again.problem:
        text = f"the webhook cannot read it: {again.problem}"
        yield _of(group, "unreadable", "error", text)
    if group.year_long:
        yield _year_long(group)
    if group.missing:
        yield _missing(group)
    if group.stale:
        text = f"{_pods(group, group.stale)} other tokens than it would get now"
        yield _of(group, "stale", "warning", text, group.restart)
    if group.level != "strict" and group.sentences:
        yield _below_strict(group)
    faults = again.faults if again is not None else ()
    own = [fault for fault in faults if fault.layer != "namespace"]  # which is told of itself
    for fault in own[:MAX_FAULTS]:
        yield _of(group, "fault", "warning", str(fault))


def _year_long(group: Group) -> Finding:
    again, space = group.again, group.space
    text = f"{_pods(group, group.year_long)} a token that lives a year or more"
    if again is not None and not any(
        is_year_long(one.lifetime_seconds) for one in again.found.tokens
    ):
        if group.pod and not space.why:
            return _of(
                group, "year-long", "error", f"{text}; made again it has none", group.restart
            )
    elif space.inject == "disabled" and not space.why and _is_automounted(group):
        command = f"kubectl annotate --overwrite namespace {space.name} {INJECT}"
        return _of(group, "year-long", "error", text, (command if _is_safe(space) else "", ""))
    return _of(group, "year-long", "error", text)


def _is_automounted(group: Group) -> bool:
    tokens = group.again.found.tokens if group.again is not None else ()
    return any(one.source == "automounted" for one in tokens)


def _missing(group: Group) -> Finding:
    again, space = group.again, group.space
    text = f"{_pods(group, group.missing)} no token of boundtoken, and one is requested"
    if space.why:
        return _of(group, "missing", "error", f"{text}: {space.why}")
    if again is not None and again.is_missed:
        return _of(group, "missing", "error", f"{text}; it would get none now: {again.reason}")
    return _of(group, "missing", "error", text, group.restart)


def _below_strict(group: Group) -> Finding:
    reached = "no level" if group.level == "none" else "only bound"
    is_refused = group.space.enforce not in ("", group.level)
    severity: Severity = "warning" if is_refused else "note"
    what = (
        "its template differs from its pods, and its tokens reach"
        if group.is_edited
        else "the tokens reach"
    )
    again = group.again
    rest = again.found.sentences if again is not None else tuple(group.sentences)
    is_cured = any(one not in rest for one in group.sentences)
    if group.pod and is_cured and not group.space.why:
        # What a rule advises is done already.
        then = f"they do not reach it: {'; '.join(rest)}" if rest else "they reach strict"
        return _of(group, "strict", severity, f"{what} {reached}; made again {then}", group.restart)
    text = f"{what} {reached}: {'; '.join(group.sentences)}"
    return _of(group, "strict", severity, text)


def _pods(group: Group, number: int) -> str:
    """The beginning of a sentence: how many of the pods have something."""
    if group.is_edited:
        return "its template differs from its pods, and new ones would have"
    if not group.pod:
        return "its pods would have" if group.owner is not None else "it would have"
    return "it has" if group.owner is None else f"{number} of {group.pods} pods have"


def _of(
    group: Group, code: Code, severity: Severity, text: str, cure: tuple[str, str] = ("", "")
) -> Finding:
    command, remark = cure
    message = text + (f"; {remark}" if remark else "")
    return Finding(
        code,
        severity,
        group.space.name,
        group.title,
        truncate(message, MAX_MESSAGE_CHARS),
        command,
        group.place,
    )


def of_space(space: Space, *, place: str = "") -> Iterator[Finding]:
    """What is to be done about a namespace itself."""
    if space.why:
        severity: Severity = "note" if is_of_the_cluster(space.name) else "warning"
        text = f"boundtoken does not reach its pods: {space.why}"
        yield Finding("uncovered", severity, space.name, "", truncate(text, MAX_MESSAGE_CHARS))
    for fault in space.faults if space.is_known else ():
        yield Finding("fault", "warning", space.name, "", fault, "", place)


def of_secret(secret: Secret, *, is_whole: bool) -> Finding:
    """A token that never expires. `is_whole` is whether everything that may mount it was seen."""
    used = f"last used on {secret.last_used}" if secret.last_used else "no use of it is known"
    mounted = ", ".join(secret.mounted_by)
    nobody = "mounted by nothing that was seen" if is_whole else "not known who mounts it"
    text = (
        f"a token of service account {secret.service_account or '(not known)'} that never expires; "
        f"{used}; {f'mounted by {mounted}' if mounted else nobody}"
    )
    is_unused = is_whole and not secret.last_used and not mounted
    names = (secret.namespace, secret.name)
    command = f"kubectl delete secret/{secret.name} -n {secret.namespace}"
    fix = command if is_unused and all(map(living.is_name, names)) else ""
    message = truncate(text, MAX_MESSAGE_CHARS)
    return Finding("legacy", "error", secret.namespace, f"secret/{secret.name}", message, fix)


def of_account(account: ServiceAccount) -> Iterator[Finding]:
    """A service account that nobody uses, or that need not automount."""
    title = f"serviceaccount/{account.name}"
    if account.secrets and not account.used_by and not account.mounted_by:
        names = truncate(", ".join(account.secrets), MAX_MESSAGE_CHARS // 2)
        text = f"no pod uses it, and it has Secrets: {names}"
        yield Finding("unused-account", "warning", account.namespace, title, text)
    if account.automount and not is_of_the_cluster(account.namespace):
        is_used = account.used_by
        who = "no pod of it gets a token by it" if is_used else "no pod uses it that was seen"
        text = f"it automounts tokens, and {who}"
        fix = (
            f"kubectl patch serviceaccount/{account.name} -n {account.namespace} "
            """-p '{"automountServiceAccountToken": false}'"""
        )
        is_safe = living.is_name(account.name) and living.is_name(account.namespace)
        yield Finding("automount", "note", account.namespace, title, text, fix if is_safe else "")


def _is_safe(space: Space) -> bool:
    return living.is_name(space.name)
