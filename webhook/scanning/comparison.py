"""Two scans compared: what is new, and what is gone. Pods get new names with each rollout, so a
token is the same where its owner is, its account and all that is told of it.

What one of the two could not have seen, by its rights or its selection, is neither: it is counted,
with the reason.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import msgspec

from . import needs
from .report import (
    Change,
    Finding,
    Gone,
    Incomparable,
    Minter,
    Report,
    Secret,
    ServiceAccount,
    Token,
)
from .visibility import Row, Seen, why_not_seen

T = TypeVar("T")


def since(before: Report, now: Report) -> Report:
    """The later report with what is new in it; what is gone is its `since`."""
    made = _Comparison(before, now)
    tokens, no_tokens = made.of("tokens", before.tokens, now.tokens, _of_token, made.row_of_token)
    findings, no_findings = made.of(
        "findings", before.findings, now.findings, _of_finding, _row_of_finding
    )
    secrets, no_secrets = made.of(
        "secrets", before.secrets, now.secrets, _of_secret, _row_of_secret
    )
    accounts, no_accounts = made.of(
        "serviceAccounts",
        before.service_accounts,
        now.service_accounts,
        _of_account,
        _row_of_account,
    )
    minters, no_minters = made.of(
        "minters", before.minters, now.minters, _of_minter, _row_of_minter
    )
    return msgspec.structs.replace(
        now,
        tokens=tokens,
        findings=findings,
        secrets=secrets,
        service_accounts=accounts,
        minters=minters,
        since=Gone(
            before.time,
            no_tokens,
            no_findings,
            no_secrets,
            no_accounts,
            no_minters,
            made.not_comparable(),
        ),
    )


class _Comparison:
    """Compares the lists of two reports, and counts what is not comparable."""

    def __init__(self, before: Report, now: Report) -> None:
        self._then, self._now = Seen(before, "then"), Seen(now, "now")
        self._counts: Counter[tuple[str, Change, str, str]] = Counter()
        # By what a token is, and not what is judged of it.
        self._both = {_identity(one) for one in before.tokens} & {
            _identity(one) for one in now.tokens
        }

    def of(
        self,
        what: str,
        before: tuple[T, ...],
        now: tuple[T, ...],
        key: Callable[[T], Hashable],
        row_of: Callable[[T], Row],
    ) -> tuple[tuple[T, ...], tuple[T, ...]]:
        """What is new in a list, and what is gone."""
        old, new = {key(one) for one in before}, {key(one) for one in now}
        added = (one for one in now if key(one) not in old)
        gone = (one for one in before if key(one) not in new)
        return (
            self._comparable(what, "new", added, row_of, (self._then, self._now)),
            self._comparable(what, "gone", gone, row_of, (self._now, self._then)),
        )

    def _comparable(
        self,
        what: str,
        change: Change,
        rows: Iterable[T],
        row_of: Callable[[T], Row],
        sides: tuple[Seen, Seen],
    ) -> tuple[T, ...]:
        found = []
        for one in rows:
            if why := why_not_seen(row_of(one), *sides):
                code = one.code if isinstance(one, Finding) else ""
                self._counts[what, change, code, why] += 1
            else:
                found.append(one)
        return tuple(found)

    def not_comparable(self) -> tuple[Incomparable, ...]:
        """What was counted, in the order of the lists."""
        return tuple(
            Incomparable(what, change, code, count, why)
            for (what, change, code, why), count in self._counts.items()
        )

    def row_of_token(self, token: Token) -> Row:
        """A token of a pod is there or not whatever else is read; that of a template is worked out,
        and so is what is judged of a token that both scans have.
        """
        is_template = not token.object.startswith("pod/")
        title = token.owner or token.object
        required = [*_kinds(title, is_template=is_template)]
        required += {"legacy-secret": ["secrets"], "csi": ["csidrivers"]}.get(token.source, [])
        is_judged = is_template or _identity(token) in self._both
        required += needs.WOULD if is_judged else ()
        return Row(
            token.namespace,
            tuple(required),
            is_labelled=True,
            is_hidden=is_template,
            title=title,
            is_judged=is_judged,
        )


def _kinds(title: str, *, is_template: bool) -> Iterable[str]:
    """What must be read so that a title is told as this one."""
    yield "pods"
    kind = title.partition("/")[0]
    if kind in ("job", "cronjob"):
        yield from ("jobs", "cronjobs")
    elif is_template and kind in needs.RESOURCES:
        yield needs.RESOURCES[kind]


def _identity(token: Token) -> Hashable:
    owner = token.owner or token.object
    return token.namespace, owner, token.volume, token.file, token.secret


def _row_of_finding(finding: Finding) -> Row:
    required = needs.FINDINGS[finding.code]
    kind = finding.object.partition("/")[0]
    is_labelled = bool(finding.object) and kind != "secret"
    if kind == "secret":
        required = ("secrets",)
    elif kind != "serviceaccount":
        own = {*_kinds(finding.object, is_template=True)} if finding.object else set()
        required = tuple(one for one in required if one in own or one not in needs.TOKENS)
    is_judged = finding.code in needs.JUDGED
    return Row(finding.namespace, required, is_labelled, is_judged=is_judged)


def _row_of_secret(secret: Secret) -> Row:
    return Row(secret.namespace, ("secrets",))


def _row_of_account(account: ServiceAccount) -> Row:
    required = (*needs.ACCOUNTS, *needs.WOULD)
    return Row(account.namespace, required, is_labelled=True, is_hidden=True, is_judged=True)


def _row_of_minter(minter: Minter) -> Row:
    of_cluster = ("clusterroles", "clusterrole")  # the latter are those that are in no file
    if minter.by.startswith("RoleBinding "):
        return Row(minter.namespace, ("rolebindings", "roles", "role", *of_cluster))
    return Row(minter.namespace, ("clusterrolebindings", *of_cluster))


def _of_token(token: Token) -> Hashable:
    return (
        token.namespace,
        token.owner or token.object,
        token.source,
        token.volume,
        token.file,
        token.secret,
        token.audience,
        token.requested_seconds,
        token.lifetime_seconds,
        token.service_account,
        token.rotated,
        token.level,
        token.mounts,
        token.more_mounts,
    )


def _of_finding(finding: Finding) -> Hashable:
    # How many pods it is about changes all the time, and is in the message.
    is_sentence = finding.code == "fault"
    return finding.code, finding.namespace, finding.object, finding.message * is_sentence


def _of_secret(secret: Secret) -> Hashable:
    return secret.namespace, secret.name, secret.service_account


def _of_account(account: ServiceAccount) -> Hashable:
    return account.namespace, account.name


def _of_minter(minter: Minter) -> Hashable:
    return minter
