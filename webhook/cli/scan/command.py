"""`boundtoken scan`: reads a cluster or manifests, and prints where they stand.

Exit codes: 0 told; 1 a finding of --fail-on; 3 interrupted, the cluster cannot be reached, or what
--fail-on is about may not be read. What else may not be read is told, and is no failure.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator

from ...core.text import without_tokens
from ...errors import BadInput
from ...scanning import comparison
from ...scanning.report import FAIL_ON, UNKNOWN, Report
from ..cluster.kinds import BY_KIND
from ..config import parse
from ..process import protect, say
from . import earlier, fixing, live, offline, selecting
from .formats.known import FORMATS

SUCCESS, PROBLEMS, FAILURE = 0, 1, 3
TOKENS = ("pods", *(BY_KIND[kind].resource for kind in live.TEMPLATES))
WOULD = ("namespaces", "serviceaccounts", "configmaps", "the configuration")
"""What decides what a pod would get."""
NEEDS = {
    "year-long": TOKENS,
    "missing": (*TOKENS, *WOULD),
    "stale": (*TOKENS, *WOULD),
    "strict": (*TOKENS, "secrets"),
    "legacy": (*TOKENS, "secrets"),
}
"""What must be seen, so that the absence of a finding says something."""


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
    shown = report
    if before is not None:
        shown = comparison.since(before, report)
        if not before.complete or before.unread:
            say(f"{parsed.since_file}: not everything was seen then, so more may be called new")
        if report.unread or not report.complete:
            say("not everything was seen now, so more may be called gone")
    _print(FORMATS[parsed.output](shown))
    if parsed.fix:
        fixing.write(parsed.fix, report)
    return _code(parsed, shown)


def _code(parsed: argparse.Namespace, report: Report) -> int:
    if not report.complete:
        say("interrupted: this is what was seen until then")
        return FAILURE
    if any(finding.code in parsed.fail_on for finding in report.findings):
        return PROBLEMS
    needed = {what for code in parsed.fail_on for what in NEEDS[code]}
    if any(token.source == "csi" and token.lifetime == UNKNOWN for token in report.tokens):
        needed.add("csidrivers")
    unread = [one for one in report.unread if one.what.split(" in ")[0].split("/")[0] in needed]
    for one in unread:
        say(f"{one.what}: {one.why}, so --fail-on cannot tell")
    return FAILURE if unread else SUCCESS


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
