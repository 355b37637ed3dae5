"""Two scans compared: what is new, and what is gone. Pods get new names with each rollout, so a
token is the same where its owner is, its account and all that is told of it.
"""

from collections.abc import Callable, Hashable
from typing import TypeVar

import msgspec

from .report import Finding, Gone, Minter, Report, Secret, ServiceAccount, Token

T = TypeVar("T")


def since(before: Report, now: Report) -> Report:
    """The later report with what is new in it; what is gone is its `since`."""
    tokens, no_tokens = _compared(before.tokens, now.tokens, _of_token)
    findings, no_findings = _compared(before.findings, now.findings, _of_finding)
    secrets, no_secrets = _compared(before.secrets, now.secrets, _of_secret)
    accounts, no_accounts = _compared(before.service_accounts, now.service_accounts, _of_account)
    minters, no_minters = _compared(before.minters, now.minters, _of_minter)
    return msgspec.structs.replace(
        now,
        tokens=tokens,
        findings=findings,
        secrets=secrets,
        service_accounts=accounts,
        minters=minters,
        since=Gone(before.time, no_tokens, no_findings, no_secrets, no_accounts, no_minters),
    )


def _compared(
    before: tuple[T, ...], now: tuple[T, ...], key: Callable[[T], Hashable]
) -> tuple[tuple[T, ...], tuple[T, ...]]:
    old, new = {key(one) for one in before}, {key(one) for one in now}
    added = tuple(one for one in now if key(one) not in old)
    return added, tuple(one for one in before if key(one) not in new)


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
