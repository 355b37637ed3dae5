"""Whose token it is: what both verifiers find out, in the same words.

Source of the names: apiserver/pkg/authentication/serviceaccount/util.go.
"""

import msgspec

from ..core.claims import Claims, ObjectReference

USER_PREFIX = "system:serviceaccount:"
ALL_ACCOUNTS = "system:serviceaccounts"
AUTHENTICATED = "system:authenticated"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The service account that a token is of, and what else the token says that is verified.

    `uid` is the account's: another account of the same name has another one. `audiences` are all
    that the token is for. `expires_at` is in seconds since 1970, by the issuer's clock. `node` is
    where the pod runs, or what the token is bound to where there is no pod. The audit log of the
    API server writes `credential_id` with `JTI=` before it.
    """

    namespace: str
    account: str
    uid: str
    audiences: tuple[str, ...]
    expires_at: float
    pod: ObjectReference | None = None
    node: ObjectReference | None = None
    secret: ObjectReference | None = None
    credential_id: str = ""
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.account}"

    @property
    def username(self) -> str:
        """What RBAC and the audit log call the account."""
        return username_of(self.namespace, self.account)

    @property
    def bound_to(self) -> ObjectReference | None:
        """The object whose end is the token's end."""
        return self.pod or self.secret or self.node


def username_of(namespace: str, account: str) -> str:
    return f"{USER_PREFIX}{namespace}:{account}"


def identity_of(claims: Claims, expires_at: float) -> Identity:
    """The identity that claims speak of, once they are verified. The groups are those that the API
    server gives to every service account.
    """
    return Identity(
        namespace=claims.namespace,
        account=claims.account,
        uid=claims.account_uid,
        audiences=claims.audiences,
        expires_at=expires_at,
        pod=claims.pod,
        node=claims.node,
        secret=claims.secret,
        credential_id=claims.credential_id,
        groups=(ALL_ACCOUNTS, f"{ALL_ACCOUNTS}:{claims.namespace}", AUTHENTICATED),
    )
