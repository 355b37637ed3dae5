"""`boundtoken token trace`: who requested a token, and what was done with it."""

import argparse
import json
from collections.abc import Iterator

import msgspec

from ...core.names import YEAR_TRAP_SECONDS
from ...core.text import one_line
from ...errors import BadInput
from ...tokens.audit import files
from ...tokens.audit.events import JTI
from ...tokens.audit.files import STANDARD_INPUT
from ...tokens.audit.ids import UUID, is_credential_id
from ...tokens.audit.lines import Tally
from ...tokens.audit.trace import Record, Request, Token, Trace, Use, token_of
from ..input import title
from ..process import say
from .reading import Progress, check_log, number, token_text
from .table import MAX_CELL_CHARS, Table, cell

SUCCESS, UNKNOWN = 0, 3
MAX_REQUESTS = 100
"""A token has one request; a log that somebody wrote may have any number."""
OWN_AUDIENCE = "the API server's own"
NOT_RECORDED = "not recorded (the audit policy says Metadata), or too large or deep to read"


def trace(parsed: argparse.Namespace) -> int:
    """Print what the log has of the token. Exit 3 where it has nothing, or was not read whole."""
    check_log(parsed.audit_log)
    token = _token(parsed.token, parsed.audit_log)
    tally = Tally()
    progress = Progress(parsed.audit_log, rotated=parsed.rotated)
    output = OUTPUTS[parsed.output](token)
    found = Trace(token, tally)
    for path in parsed.audit_log:
        for block in files.blocks(path, tally, progress, rotated=parsed.rotated):
            for record in found.records(block):
                progress.clear()
                output.add(record)
    progress.clear()
    for use in found.rest():
        output.add(use)
    output.done(tally)
    progress.done(tally)
    counts = output.counts
    say(f"{token}: {number(counts[Request], 'request')}, {number(counts[Use], 'use')}")
    if not any(counts.values()):
        say("the log has nothing of it; boundtoken token audit-policy prints what must be recorded")
    return SUCCESS if any(counts.values()) and tally.is_whole else UNKNOWN


def _token(given: str, logs: list[str]) -> Token:
    """Raises: BadInput"""
    identifier = given.removeprefix(JTI)
    if identifier != given:
        if not is_credential_id(identifier):
            raise BadInput("JTI=…: must be 8 to 128 letters, digits, dots, colons or hyphens")
        return _named(identifier)
    if UUID.fullmatch(given):
        return _named(given)
    if STANDARD_INPUT in logs and given == STANDARD_INPUT:
        raise BadInput("only one of the token and the log can come from standard input")
    text = token_text(given)
    try:
        return token_of(text)
    except BadInput as problem:
        raise BadInput(f"{title(given)}: {problem}") from None


def _named(identifier: str) -> Token:
    """An UUID is written in small letters by the API server, and in any by people."""
    return Token(JTI + (identifier.lower() if UUID.fullmatch(identifier) else identifier))


class _Output:
    """Counts the records; the kinds of it print them as they come."""

    def __init__(self, token: Token) -> None:
        self.token = token
        self.counts: dict[type[Record], int] = {Request: 0, Use: 0}

    def add(self, record: Record) -> None:
        self.counts[type(record)] += 1

    def done(self, tally: Tally) -> None:
        """Print what is left."""


class _Lines(_Output):
    """One JSON object a line."""

    def add(self, record: Record) -> None:
        super().add(record)
        print(_json(record))


class _Object(_Output):
    """One JSON object, whose uses are printed as they come."""

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        self._requests: list[str] = []
        print(f'{{"token": {json.dumps(str(token))}, "uses": [', end="")

    def add(self, record: Record) -> None:
        super().add(record)
        if isinstance(record, Use):
            print("," if self.counts[Use] > 1 else "", end="\n ")
            print(_json(record), end="")
        elif len(self._requests) < MAX_REQUESTS:
            self._requests.append(_json(record))

    def done(self, tally: Tally) -> None:
        read = {
            "lines": tally.lines,
            "bytes": tally.bytes,
            "files": tally.files,
            "brokenLines": tally.broken,
            "tooLongLines": tally.too_long,
            "problems": tally.problems,
        }
        print(f'], "requests": [{", ".join(self._requests)}], "read": {json.dumps(read)}}}')


class _Text(_Output):
    """The request in words, and a table of the uses."""

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        self._table = Table(
            *("TIME", "USER", "VERB", "RESOURCE", "NAMESPACE", "NAME"),
            *("CODE", "SOURCE", "USER-AGENT", "NOTES"),
        )

    def add(self, record: Record) -> None:
        super().add(record)
        if isinstance(record, Request):
            print("\n".join(_described(record)), end="\n\n")
            return
        self._table.add(
            record.time,
            record.user,
            record.verb,
            record.resource or record.path,
            record.namespace,
            record.name,
            str(record.code or ""),
            _sources(record.source_ips),
            record.user_agent,
            ", ".join(_notes(record)),
        )

    def done(self, tally: Tally) -> None:
        super().done(tally)
        self._table.done()


OUTPUTS: dict[str, type[_Output]] = {"table": _Text, "json": _Object, "jsonl": _Lines}


def _json(record: Record) -> str:
    # json escapes whatever is not ASCII, such as what steers a terminal.
    return json.dumps(msgspec.to_builtins(record))


def _described(request: Request) -> Iterator[str]:
    yield f"{request.time} requested by {_requester(request)}"
    yield f"  from        {cell(_sources(request.source_ips))} with {cell(request.user_agent)}"
    if request.user_credential_id:
        yield f"  credential  {cell(request.user_credential_id)}"
    yield f"  account     {cell(request.namespace)}/{cell(request.account)}"
    if request.audiences is None:
        yield f"  audience    {NOT_RECORDED}"
        return
    yield f"  audience    {one_line(', '.join(request.audiences)) or OWN_AUDIENCE}"
    seconds, bound = request.expiration_seconds, request.bound_to
    is_year = seconds == YEAR_TRAP_SECONDS and bound is not None and not request.audiences
    yield f"  lifetime    {seconds} s{', which the API server makes a year' if is_year else ''}"
    yield f"  bound to    {cell('/'.join((bound['kind'], bound['name']))) if bound else 'nothing'}"


def _requester(request: Request) -> str:
    if not request.impersonated_user:
        return cell(request.user)
    return f"{cell(request.user)} as {cell(request.impersonated_user)}"


def _notes(use: Use) -> Iterator[str]:
    if use.stale_seconds is not None:
        yield f"stale for {use.stale_seconds} s"
    if use.legacy_secret:
        yield f"legacy secret/{use.legacy_secret}"
    if use.impersonated_user:
        yield f"as {use.impersonated_user}"
    if use.issued_credential_id:
        yield f"issued {use.issued_credential_id}"
    if use.is_open:
        yield "no end in the log"


def _sources(addresses: tuple[str, ...]) -> str:
    """All of them where there is room, else the first and the last, which is the true one."""
    joined = ",".join(addresses)
    return joined if len(joined) <= MAX_CELL_CHARS else f"{addresses[0]}…{addresses[-1]}"
