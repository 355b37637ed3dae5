"""`boundtoken token inspect`: what tokens say of themselves, and whether they are valid."""

import argparse
import json
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from ...core.claims import NotAToken
from ...core.text import one_line
from ...errors import BadInput, BoundtokenError
from ...tokens.errors import NotVerified
from ...tokens.inspection.description import Inspection, inspect, lines, report
from ...tokens.kubectl.create import check_audiences
from .given import GivenToken, given_tokens

if TYPE_CHECKING:
    from ...tokens.inspection.verification import Check, Verification


class Look(NamedTuple):
    """A token that was looked at, and what those say who were asked whether it is valid."""

    place: str
    inspection: Inspection
    verifications: list["Verification"]

    @property
    def is_fine(self) -> bool:
        is_valid = all(verification.reason is None for verification in self.verifications)
        return is_valid and not self.inspection.findings


def show(parsed: argparse.Namespace) -> int:
    """Print a report of each token; 1 where one is not as it should be."""
    _check_flags(parsed)
    faults: list[str] = []
    tokens = list(given_tokens(parsed.file, faults))
    now = time.time()  # after what may have been issued while we were reading
    checks = _checks(parsed, now)
    unknown: list[str] = []
    looks = []
    for given in tokens:
        try:
            inspection = inspect(given.token, now)
        except NotAToken as problem:
            faults.append(f"{given.place}: must have a token: {problem}")
            continue
        verifications = _verifications(checks, parsed.audience, given, inspection, unknown)
        looks.append(Look(given.place, inspection, verifications))
    _print(parsed.output, looks, now)
    problems = [*faults, *dict.fromkeys(unknown)]
    if faults and parsed.file:
        raise BadInput(*problems)
    if problems:
        raise BoundtokenError("; ".join(problems))
    return 0 if all(look.is_fine for look in looks) else 1


def _check_flags(parsed: argparse.Namespace) -> None:
    """Raises: BadInput"""
    if parsed.audience and not (parsed.verify or parsed.jwks):
        raise BadInput("--audience goes with --verify or --jwks")
    if parsed.jwks == "":
        raise BadInput("--jwks must not be an empty string")
    try:
        check_audiences(parsed.audience)
    except ValueError as problem:
        raise BadInput(str(problem)) from None
    if parsed.ca_file is not None and "://" not in (parsed.jwks or ""):
        raise BadInput("--ca-file goes with --jwks URL")


def _checks(parsed: argparse.Namespace, now: float) -> list["Check"]:
    """Those who are to be asked. Raises: BadInput; NotVerified; Unauthenticated"""
    if not (parsed.verify or parsed.jwks):
        return []
    from ...tokens.inspection.verification import CLUSTER, ReviewCheck, key_check  # noqa: PLC0415
    from .access import access  # noqa: PLC0415  (most calls verify nothing)

    # What it says is in what it raises, which is printed.
    logging.getLogger("boundtoken.tokens").setLevel(logging.CRITICAL)
    is_of_cluster = parsed.jwks == CLUSTER
    server = access(parsed).server if parsed.verify or is_of_cluster else None
    checks: list[Check] = []
    if parsed.verify and server is not None:
        checks.append(ReviewCheck(server))
    if parsed.jwks:
        keys_server = server if is_of_cluster else None
        try:
            checks.append(key_check(parsed.jwks, keys_server, parsed.ca_file, now))
        except ValueError as problem:
            raise BadInput(f"--jwks: {problem}") from None
    return checks


def _verifications(
    checks: list["Check"],
    audiences: list[str],
    given: GivenToken,
    inspection: Inspection,
    unknown: list[str],
) -> list["Verification"]:
    """What they say of a token; who cannot tell is added to `unknown`. Raises: BadInput"""
    if not checks:
        return []
    from ...tokens.inspection.verification import audiences_to_check  # noqa: PLC0415

    claims = inspection.claims
    results = []
    for check in checks:
        for audience in audiences_to_check(claims, audiences):
            try:
                results.append(check.verify(given.token, claims, audience))
            except NotVerified as problem:
                unknown.append(str(problem))
            except ValueError as problem:
                raise BadInput(str(problem)) from None
    return results


def _print(form: str, looks: list[Look], now: float) -> None:
    if form == "json":
        print(json.dumps({"tokens": [_object(look, now) for look in looks]}, indent=2))
        return
    for place, inspection, verifications in looks:
        print(one_line(place))
        rows = lines(inspection, now)
        rows += [
            ("finding" if verification.reason else "verified", verification.text)
            for verification in verifications
        ]
        for label, text in rows:
            print(f"  {label:<11}{one_line(text)}")


def _object(look: Look, now: float) -> dict[str, object]:
    shown = {"file": look.place} | report(look.inspection, now)
    if look.verifications:
        shown["verifications"] = [
            verification._asdict() | {"valid": verification.reason is None}
            for verification in look.verifications
        ]
    return shown
