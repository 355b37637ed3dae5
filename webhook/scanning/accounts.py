"""Service accounts and their legacy tokens: who uses them, and who needs what they automount."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable

from . import views
from .report import Secret, ServiceAccount

MAX_MOUNTED_BY = 20
"""Told of one Secret."""
MAX_SECRETS = 20
"""Told of one service account."""
Name = tuple[str, str]
"""Namespace and name."""


@dataclasses.dataclass(slots=True)
class _Account:
    opts_out: bool
    secrets: tuple[str, ...]
    used_by: int = 0
    needs_automount: bool = False


@dataclasses.dataclass(slots=True)
class _Secret:
    account: str
    last_used: str
    mounted_by: dict[str, None] = dataclasses.field(default_factory=dict)


class Accounts:
    """Service accounts and Secrets with legacy tokens, by namespace and name. `are_secrets_known`
    is to be set to False where they could not be listed.
    """

    def __init__(self) -> None:
        self.are_secrets_known = True
        self._accounts: dict[Name, _Account] = {}
        self._secrets: dict[Name, _Secret] = {}
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._legacy: dict[str, frozenset[str]] = {}

    def add(self, account: views.ServiceAccount) -> None:
        """A service account."""
        metadata = account.metadata
        secrets = tuple(secret.name for secret in account.secrets or ())[:MAX_SECRETS]
        self._accounts[metadata.namespace, metadata.name] = _Account(
            account.automount_service_account_token is False, secrets
        )

    def add_secret(self, secret: views.Secret) -> None:
        """A Secret of the type of legacy tokens."""
        metadata = secret.metadata
        account = metadata.annotations.account if metadata.annotations is not None else ""
        last_used = metadata.labels.last_used if metadata.labels is not None else ""
        self._secrets[metadata.namespace, metadata.name] = _Secret(account, last_used)
        self._names[metadata.namespace].add(metadata.name)

    def opts_out(self, namespace: str, name: str) -> bool:
        """What it says of automounting; False where it was not seen."""
        found = self._accounts.get((namespace, name))
        return found is not None and found.opts_out

    def legacy_in(self, namespace: str) -> frozenset[str] | None:
        """The names of the Secrets with legacy tokens, which are all to be added before; None where
        they could not be listed. It is the same object each time.
        """
        if not self.are_secrets_known:
            return None
        if namespace not in self._legacy:
            self._legacy[namespace] = frozenset(self._names.get(namespace, ()))
        return self._legacy[namespace]

    def use(self, namespace: str, name: str, *, needs_automount: bool) -> None:
        """A pod, or a template without pods, uses an account."""
        found = self._accounts.get((namespace, name))
        if found is not None:
            found.used_by += 1
            found.needs_automount = found.needs_automount or needs_automount

    def mount(self, namespace: str, title: str, secrets: Iterable[str]) -> None:
        """An object refers to these Secrets."""
        for name in secrets:
            found = self._secrets.get((namespace, name))
            if found is not None and len(found.mounted_by) < MAX_MOUNTED_BY:
                found.mounted_by[title] = None

    def told_secrets(self) -> tuple[Secret, ...]:
        return tuple(
            Secret(*name, of.account, of.last_used, tuple(of.mounted_by))
            for name, of in sorted(self._secrets.items(), key=lambda pair: pair[0])
        )

    def told_accounts(self) -> tuple[ServiceAccount, ...]:
        """Those that nobody uses and that have Secrets, or that automount and need not."""
        by_account: defaultdict[Name, list[str]] = defaultdict(list)
        for (namespace, name), secret in sorted(self._secrets.items(), key=lambda pair: pair[0]):
            by_account[namespace, secret.account].append(name)
        found = []
        for key, account in sorted(self._accounts.items(), key=lambda pair: pair[0]):
            known = dict.fromkeys([*account.secrets, *by_account[key]])
            automounts = not account.opts_out and not account.needs_automount
            mounted_by = self._mounted_by(key[0], known)
            if automounts or (known and not account.used_by and not mounted_by):
                secrets = tuple(known)[:MAX_SECRETS]
                found.append(ServiceAccount(*key, account.used_by, secrets, automounts, mounted_by))
        return tuple(found)

    def _mounted_by(self, namespace: str, secrets: Iterable[str]) -> tuple[str, ...]:
        seen = (self._secrets.get((namespace, name)) for name in secrets)
        titles = dict.fromkeys(title for one in seen if one is not None for title in one.mounted_by)
        return tuple(titles)[:MAX_MOUNTED_BY]
