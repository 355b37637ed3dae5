"""What a token says of itself, for people and for programs. Pure: the time is an argument.

Nothing here verifies a signature, and nothing of it is in what is returned.
"""

import base64
from typing import Any, NamedTuple

import msgspec

from ...core.claims import Claims, NotAToken, ObjectReference, claims_of
from ...core.names import YEAR_TRAP_SECONDS
from ..kubectl.durations import spoken
from ..kubectl.exec_credential import timestamp

LEEWAY_SECONDS = 10.0
"""That a token may begin in the future, before it counts: clocks differ."""
MAX_DEPTH = 16
"""Of claims that are shown as they are; an API server's have three levels."""
USER_PREFIX = "system:serviceaccount:"


class Finding(NamedTuple):
    """Something about a token that is not as it should be; `reason` is one word for programs."""

    reason: str
    message: str


class Inspection(NamedTuple):
    """A token's claims, and what is found. `claims_text` are all of them as they stand in it; None
    where they are nested too deeply to be shown.
    """

    claims: Claims
    algorithm: str
    key_id: str
    claims_text: Any
    findings: tuple[Finding, ...]


class _Header(msgspec.Struct):
    alg: str = ""
    kid: str = ""


_HEADER = msgspec.json.Decoder(_Header)


def inspect(token: str, now: float) -> Inspection:
    """What a token says, at a time in seconds since 1970. Raises: NotAToken"""
    claims = claims_of(token)
    header, payload, _ = token.split(".")
    try:
        shown = _HEADER.decode(_decoded(header))
        text = msgspec.json.decode(_decoded(payload))
    except (ValueError, RecursionError) as problem:
        raise NotAToken(f"its header cannot be read: {type(problem).__name__}") from None
    return Inspection(
        claims,
        shown.alg,
        shown.kid,
        text if _depth(text) <= MAX_DEPTH else None,
        tuple(_findings(claims, now)),
    )


def report(inspection: Inspection, now: float) -> dict[str, Any]:
    """The same as an object for JSON."""
    claims = inspection.claims
    account = {
        "namespace": claims.namespace,
        "name": claims.account,
        "uid": claims.account_uid,
    }
    return {
        "serviceAccount": account if claims.account else None,
        "subject": claims.subject,
        "issuer": claims.issuer,
        "audiences": list(claims.audiences),
        "boundTo": _reference(claims.bound_to),
        "node": _reference(claims.node),
        "issuedAt": _time(claims.issued_at),
        "notBefore": _time(claims.not_before),
        "expiresAt": _time(claims.expires_at),
        "warnAfter": _time(claims.warn_after),
        "lifetimeSeconds": _whole(claims.lifetime_seconds),
        "remainingSeconds": _whole(_remaining(claims, now)),
        "credentialID": claims.credential_id,
        "algorithm": inspection.algorithm,
        "keyID": inspection.key_id,
        "findings": [finding._asdict() for finding in inspection.findings],
        "claims": inspection.claims_text,
    }


def lines(inspection: Inspection, now: float) -> list[tuple[str, str]]:
    """The same in words: a label and its text, for each line."""
    claims = inspection.claims
    rows = [
        ("account", _whose(claims)),
        ("bound to", _bound(claims)),
        ("audiences", ", ".join(claims.audiences) or "none"),
        ("issuer", claims.issuer),
        ("issued", _ago(claims.issued_at, now)),
        ("expires", _expiry(claims, now)),
        ("credential", claims.credential_id),
        ("signed", " ".join(filter(None, (inspection.algorithm, "by key", inspection.key_id)))),
    ]
    found = [("finding", finding.message) for finding in inspection.findings]
    return [(label, text) for label, text in rows if text] + found


def _findings(claims: Claims, now: float) -> list[Finding]:
    found = []
    if not claims.account:
        found.append(Finding("not-a-service-account", "it is not of a service account"))
    if claims.is_legacy:
        secret = claims.secret.name if claims.secret is not None else "unknown"
        text = (
            f"a legacy token, of Secret {secret}: it never expires and is for no audience; it ends with the Secret. "
            "Tokens of the TokenRequest API expire"
        )
        found.append(Finding("legacy", text))
    elif claims.expires_at is None:
        found.append(Finding("no-expiry", "it never expires"))
    elif now >= claims.expires_at:
        ago = spoken(now - claims.expires_at)
        found.append(Finding("expired", f"it has expired, {ago} ago"))
    if claims.not_before is not None and now < claims.not_before - LEEWAY_SECONDS:
        ahead = spoken(claims.not_before - now)
        found.append(Finding("not-yet-valid", f"it is valid only in {ahead}"))
    if claims.warn_after is not None:
        found.append(Finding("extended", _extended(claims)))
    return found


def _extended(claims: Claims) -> str:
    life = spoken(claims.lifetime_seconds or 0)
    return (
        f"{YEAR_TRAP_SECONDS} s were requested, which the API server extends: it lives {life}. "
        f"From {_time(claims.warn_after)} on, its use is audited as stale. Request 3600 s"
    )


def _whose(claims: Claims) -> str:
    if not claims.account:
        return f"none; its subject is {claims.subject or 'empty'}"
    uid = f" (uid {claims.account_uid})" if claims.account_uid else ""
    return f"{claims.namespace}/{claims.account}{uid}"


def _bound(claims: Claims) -> str:
    bound = claims.bound_to
    if bound is None:
        return "nothing: it ends when it expires, or with its account"
    on = f" on {_named(claims.node)}" if claims.node not in (None, bound) else ""
    return f"{_named(bound)}{on}"


def _named(reference: ObjectReference | None) -> str:
    if reference is None:
        return ""
    uid = f" (uid {reference.uid})" if reference.uid else ""
    return f"{reference.kind} {reference.name}{uid}"


def _expiry(claims: Claims, now: float) -> str:
    if claims.expires_at is None:
        return "never"
    away = spoken(claims.expires_at - now)
    when = f"in {away}" if claims.expires_at > now else f"{away} ago"
    life = claims.lifetime_seconds
    whole = f"; its whole life is {spoken(life)}" if life is not None else ""
    return f"{_time(claims.expires_at)}, {when}{whole}"


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return "unknown"
    away = spoken(now - at)
    return f"{_time(at)}, {away} ago" if now >= at else f"{_time(at)}, in {away}"


def _remaining(claims: Claims, now: float) -> float | None:
    return None if claims.expires_at is None else claims.expires_at - now


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def _time(at: float | None) -> str | None:
    return None if at is None else timestamp(at)


def _reference(reference: ObjectReference | None) -> dict[str, str] | None:
    return None if reference is None else reference._asdict()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth
