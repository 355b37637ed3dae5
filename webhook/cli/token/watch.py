"""`boundtoken token watch`: unusual requests for tokens and uses of them, one line each."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping

import msgspec

from ...core.limits import DEFAULT_MAXIMUM
from ...core.text import one_line
from ...errors import BadInput, BoundtokenError
from ...tokens.audit import files
from ...tokens.audit.files import STANDARD_INPUT
from ...tokens.audit.follow import following
from ...tokens.audit.lines import Tally
from ...tokens.audit.rules import Settings
from ...tokens.audit.watch import Finding, Watch
from ..process import say
from .reading import Progress, check_log, number

QUIET, FOUND, UNKNOWN = 0, 1, 3
LEARN_MINUTES = 60
MAX_LEARN_MINUTES = 60 * 24 * 31
MAX_PER_MINUTE = 1_000_000


def watch(parsed: argparse.Namespace) -> int:
    """Print what is unusual. Exit 1 where something is, 3 where the log was not read whole or has
    nothing of tokens.
    """
    check_log(parsed.audit_log)
    _check(parsed)
    # Like Ctrl-C, so that it says what it has seen. A first process has no handler of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    learn_minutes = parsed.learn
    if learn_minutes is None:
        learn_minutes = 0 if parsed.baseline else LEARN_MINUTES
    settings = Settings(
        _maxima(parsed), parsed.max_seconds or DEFAULT_MAXIMUM["bound"], parsed.per_minute
    )
    tally = Tally()
    progress = Progress([*parsed.baseline, parsed.audit_log], rotated=False)
    watched = Watch(settings, tally, learn_seconds=learn_minutes * 60, without=parsed.without)
    for path in parsed.baseline:
        for block in files.blocks(path, tally, progress, rotated=False):
            watched.learn(block)
    found = 0
    try:
        for block in _blocks(parsed, tally, progress):
            for finding in watched.findings(block):
                found += 1
                progress.clear()
                print(_json(finding) if parsed.output == "json" else _line(finding), flush=True)
    except BrokenPipeError:  # no success: a watch that nobody hears must not end as a quiet one
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise BoundtokenError("nobody reads the findings any more") from None
    finally:
        progress.done(tally)
        _conclude(watched, found, learn_minutes)
    if found:
        return FOUND
    return QUIET if tally.is_whole and (watched.requests or watched.uses) else UNKNOWN


def _maxima(parsed: argparse.Namespace) -> Mapping[str, int]:
    """The namespaces' own; none where --max-seconds alone was given. Raises: BadInput"""
    is_for_all = parsed.max_seconds is not None
    if is_for_all and not (parsed.filename or parsed.kubeconfig or parsed.context):
        return {}
    from .maxima import maxima  # noqa: PLC0415  (it needs as much time and memory as all the rest)

    return maxima(parsed)


def _check(parsed: argparse.Namespace) -> None:
    """Raises: BadInput, with every fault"""
    faults = []
    if parsed.learn is not None and not 0 <= parsed.learn <= MAX_LEARN_MINUTES:
        faults.append(f"--learn={parsed.learn}: must be from 0 to {MAX_LEARN_MINUTES} minutes")
    if not 1 <= parsed.per_minute <= MAX_PER_MINUTE:
        faults.append(f"--per-minute={parsed.per_minute}: must be from 1 to {MAX_PER_MINUTE}")
    if parsed.max_seconds is not None and parsed.max_seconds < 1:
        faults.append(f"--max-seconds={parsed.max_seconds}: must be at least 1")
    if STANDARD_INPUT in parsed.baseline:
        faults.append("--baseline=-: must be a file")
    if faults:
        raise BadInput(*faults)


def _blocks(parsed: argparse.Namespace, tally: Tally, progress: Progress) -> Iterator[bytes]:
    if parsed.follow and parsed.audit_log != STANDARD_INPUT:
        return following(parsed.audit_log, tally, progress)
    return files.blocks(parsed.audit_log, tally, progress, rotated=False)


def _line(finding: Finding) -> str:
    more = f" ({finding.more} more before)" if finding.more else ""
    return one_line(
        f"{finding.time} {finding.rule} {finding.namespace}/{finding.account}: {finding.user} "
        f"{finding.message}, from {','.join(finding.source_ips)} with {finding.user_agent}{more}"
    )


def _json(finding: Finding) -> str:
    return json.dumps(msgspec.to_builtins(finding))


def _conclude(watched: Watch, found: int, learn_minutes: int) -> None:
    say(
        f"{number(watched.requests, 'token request')} and {number(watched.uses, 'use')} of tokens, "
        f"{number(found, 'finding')}"
    )
    if not watched.requests and not watched.uses:
        say(
            "the log has nothing of tokens; boundtoken token audit-policy prints what must be recorded"
        )
    if watched.left_out:
        say(f"{number(watched.left_out, 'finding')} left out: too many of one rule and user")
    if watched.bodiless:
        say(
            f"{number(watched.bodiless, 'token request')} without audience and lifetime: the audit policy says Metadata; "
            "boundtoken token audit-policy prints a better one"
        )
    if watched.forgotten:
        say(f"{watched.forgotten:,} things were forgotten for want of room, and are new again")
    if watched.is_learning and learn_minutes:
        say(
            f"all of it was learnt, because it is shorter than {learn_minutes} minutes: --learn or --baseline change that"
        )
