"""`boundtoken scan`: reads a cluster or manifests, and prints where they stand.

Exit codes: 0 told; 1 a finding of --fail-on; 3 interrupted, the cluster cannot be reached, no
namespace is chosen, or what --fail-on is about cannot be read. What else may not be read is told,
and is no failure.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator

from ...core.text import without_tokens
from ...errors import BadInput
from ...scanning import comparison, needs
from ...scanning.report import FAIL_ON, Code, Report
from ..config import parse
from ..process import protect, say
from . import earlier, fixing, live, offline, selecting
from .formats.known import FORMATS
from .formats.texts import number

SUCCESS, PROBLEMS, FAILURE = 0, 1, 3


def scan(parsed: argparse.Namespace) -> int:
    """Print the report; exit 1 where there is a finding of --fail-on."""
    protect()
    _check(parsed)
    before = earlier.report_in(parsed.since_file) if parsed.since_file else None
    own = parsed.webhook_namespace
    configuration = parse(parsed.config, own or "") if parsed.config else None
    report = (
        offline.scan(parsed, configuration)
        if parsed.filename
        else asyncio.run(live.scan(parsed, configuration))
    )
    shown = report if before is None else comparison.since(before, report)
    if before is not None:
        _say_of(before, shown, parsed.since_file)
    _print(FORMATS[parsed.output](shown))
    if parsed.fix:
        fixing.write(parsed.fix, report)
    return _code(parsed, report, shown)


def _code(parsed: argparse.Namespace, report: Report, shown: Report) -> int:
    """Of a whole report, and of what is shown of it."""
    if not report.complete:
        say("interrupted: this is what was seen until then")
        return FAILURE
    if parsed.namespace_selector and not report.namespaces:
        chosen = f"--namespace-selector {parsed.namespace_selector}"
        say(f"No resources found: {chosen} chooses no namespace that was seen")
        return FAILURE
    if any(finding.code in parsed.fail_on for finding in shown.findings):
        return PROBLEMS
    unknown = list(_unknown(parsed.fail_on, report, shown)) if parsed.fail_on else []
    for text in unknown:
        say(text)
    return FAILURE if unknown else SUCCESS


def _unknown(fail_on: tuple[Code, ...], report: Report, shown: Report) -> Iterator[str]:
    """Why --fail-on cannot tell that there is no such finding."""
    for one in needs.unread_for(fail_on, report):
        yield f"{one.what}: {one.why}, so --fail-on cannot tell"
    if unreadable := sum(finding.code == "unreadable" for finding in report.findings):
        objects = number(unreadable, "object")
        yield f"the webhook cannot read {objects} (unreadable), so --fail-on cannot tell"
    for other in shown.since.not_comparable if shown.since is not None else ():
        if other.change == "new" and other.code in fail_on:
            what = f"{other.count:,} {other.code}: {other.why}"
            yield f"{what}, so --fail-on cannot tell what is new"


def _say_of(before: Report, shown: Report, file: str) -> None:
    """What a reader has to know of a comparison."""
    if before.selection is None:
        say(f"{file}: it does not say what it looked at, so more may be called new or gone")
    if before.context and shown.context and before.context != shown.context:
        say(f"{file}: it is of context {before.context}, and this one of {shown.context}")
    since = shown.since.not_comparable if shown.since is not None else ()
    if count := sum(one.count for one in since):
        reasons = "; ".join(dict.fromkeys(one.why for one in since))
        say(f"{count:,} rows are not comparable, and so neither new nor gone: {reasons}")


def _check(parsed: argparse.Namespace) -> None:
    """Raises: BadInput, for flags that do not go together"""
    faults = [
        f"--fail-on={code!a}: must be of {', '.join(FAIL_ON)}"
        for code in parsed.fail_on
        if code not in FAIL_ON
    ]
    faults += _selection_faults(parsed)
    if parsed.fix and parsed.selector:
        faults.append("--fix needs every pod: leave out -l")
    if [*parsed.filename, parsed.since_file, parsed.config].count("-") > 1:
        faults.append("only one file can come from standard input")
    if faults:
        raise BadInput(*faults)
    if parsed.selector:
        selecting.parse(parsed.selector, "-l")
    if parsed.namespace_selector:
        selecting.parse(parsed.namespace_selector, "--namespace-selector")
    if parsed.fix:
        fixing.check(parsed.fix)


def _selection_faults(parsed: argparse.Namespace) -> Iterator[str]:
    if parsed.filename and len(parsed.namespace) > 1:
        yield "with -f give one --namespace: that of objects that name none"
    if parsed.all_namespaces and parsed.namespace:
        yield "--all-namespaces and --namespace exclude each other"
    if parsed.filename and (parsed.kubeconfig or parsed.context):
        yield "--kubeconfig and --context are for a cluster, and -f reads none"
    if parsed.filename and parsed.all_namespaces:
        yield "--all-namespaces is for a cluster: all that -f gives is looked at"
    if parsed.namespace_selector and parsed.namespace and not parsed.filename:
        yield "--namespace-selector and --namespace exclude each other"


def _print(text: str) -> None:
    # A name that looks like a token may be one.
    if sys.stdout is not None:
        sys.stdout.write(without_tokens(text))
