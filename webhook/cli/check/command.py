"""`boundtoken check`: reads, judges, and prints what holds and what does not.

Exit codes: 0 all passed, warnings too; 1 something failed; 2 usage error; 3 nothing failed, and
something could not be found out.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from ... import __version__, options
from ...checks import before as checks_before
from ...checks.facts import Installation, Server
from ...checks.installation import checks as checks_of_installation
from ...checks.installer import with_its_commands
from ...checks.model import Result, Unseen, run, status_of
from ...cluster.client import ApiClient
from ...cluster.credentials import FromKubeconfig
from ...core.text import quote
from ...errors import ApiError, BadInput
from ..cluster.kinds import OBJECT_NAME
from ..cluster.reader import Reader
from ..process import protect, say
from . import before, output, probes, reading

PAUSE_SECONDS = 2.0
"""Between two rounds of --wait."""
CALL_SECONDS = 30.0
"""Of one request at most; less where --wait ends earlier."""
WORKLOAD = "workload"
EXIT_CODES = {"passed": 0, "warning": 0, "failed": 1, "unknown": 3}
Results = tuple[Result, ...]


def check(parsed: argparse.Namespace) -> int:
    """Print the results; gives the exit code."""
    protect()
    seconds = _check_flags(parsed)
    results = _awaited(parsed, time.monotonic() + seconds)
    if parsed.output == "json":
        print(output.document(results))
    elif parsed.output == "junit":
        print(output.junit(results))
    else:
        for line in output.lines(results, with_commands=parsed.fix_hint):
            print(line)
    return EXIT_CODES[status_of(results)]


def _awaited(parsed: argparse.Namespace, deadline: float) -> Results:
    """The first round in which nothing fails and nothing is unknown, or the last before this time.

    Raises: NotFound, where the workload is not there by then; ApiError, where it was not read
    """
    while True:
        left = max(deadline - time.monotonic(), PAUSE_SECONDS)
        parsed.call_seconds = CALL_SECONDS if parsed.wait is None else min(CALL_SECONDS, left)
        try:
            results = _results(parsed)
        except ApiError as problem:
            if not _has_time(deadline):
                raise
            _progress(f"waiting: {problem}")
        else:
            if not EXIT_CODES[status_of(results)] or not _has_time(deadline):
                return results
            open_ones = [one for one in results if EXIT_CODES[one.status]]
            _progress(f"waiting for {len(open_ones)} checks, first: {open_ones[0].sentence}")
        time.sleep(PAUSE_SECONDS)


def _has_time(deadline: float) -> bool:
    """Whether another round may begin, after the pause."""
    return time.monotonic() + PAUSE_SECONDS < deadline


def _progress(text: str) -> None:
    """On a terminal, what is waited for."""
    if sys.stderr is not None and sys.stderr.isatty():
        say(text)


def _check_flags(parsed: argparse.Namespace) -> float:
    """The seconds to wait. Raises: BadInput, with every fault"""
    faults, seconds = [], 0.0
    if parsed.wait is not None:
        try:
            seconds = options.seconds(parsed.wait)
        except ValueError as problem:
            faults.append(f"--wait={quote(parsed.wait)}: {problem}")
    words = parsed.words
    if words and (words[0] != WORKLOAD or len(words) == 1):
        faults.append(f"{quote(' '.join(words))}: must be workload TYPE/NAME, or nothing")
    installation = {
        "--pre": parsed.pre,
        "--dry-run-namespace": parsed.dry_run_namespace,
        "--no-dry-run": parsed.no_dry_run,
        "--request-token": parsed.request_token,
    }
    workload = {"--namespace": parsed.namespace, "--can": parsed.can}
    wrong = installation if words else workload
    faults += [
        f"{flag} is for {'the installation' if words else 'workload TYPE/NAME'}"
        + (": the namespace of boundtoken is --webhook-namespace" if flag == "--namespace" else "")
        for flag, given in wrong.items()
        if given
    ]
    others = ("--dry-run-namespace", "--no-dry-run", "--request-token")
    if parsed.pre:
        faults += [f"{flag} does not go with --pre" for flag in others if installation[flag]]
    name = parsed.dry_run_namespace
    if name is not None and not OBJECT_NAME.fullmatch(name):
        faults.append(f"--dry-run-namespace={quote(name)}: must be the name of a namespace")
    if name is not None and parsed.no_dry_run:
        faults.append("--dry-run-namespace and --no-dry-run exclude each other")
    if faults:
        raise BadInput(*faults)
    return seconds


def _results(parsed: argparse.Namespace) -> Results:
    """One round, which a terminal is told of while it lasts."""
    if sys.stderr is None or not sys.stderr.isatty():
        return _round(parsed)
    print("reading the cluster …", end="", file=sys.stderr, flush=True)
    try:
        return _round(parsed)
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _round(parsed: argparse.Namespace) -> Results:
    """One round. Each has its own connections: what was kept may be of a server that is gone."""
    read: Callable[[argparse.Namespace, Reader], Awaitable[Results]] = _of_installation
    if parsed.words:
        from . import workload  # noqa: PLC0415  (it imports most of explain)

        read = workload.results
    elif parsed.pre:
        read = _before
    return asyncio.run(_connected(parsed, read))


async def _connected(
    parsed: argparse.Namespace,
    read: Callable[[argparse.Namespace, Reader], Awaitable[Results]],
) -> Results:
    credentials = FromKubeconfig(parsed.kubeconfig, parsed.context)
    parsed.namespace = parsed.namespace or credentials.namespace
    agent, seconds = f"boundtoken/{__version__}", parsed.call_seconds
    async with ApiClient(credentials, agent, most_seconds=seconds) as client:
        return await read(parsed, Reader(client))


async def _of_installation(parsed: argparse.Namespace, reader: Reader) -> Results:
    all_checks = checks_of_installation(
        with_probes=not parsed.no_dry_run, with_token=parsed.request_token
    )
    server = await reading.server(reader.client)
    if isinstance(server, Unseen):
        return run(all_checks, _unreachable(parsed, reader, server))
    seen = await reading.installation(reader, parsed.webhook_namespace, server)
    if not parsed.no_dry_run and not seen.is_absent:
        given = parsed.dry_run_namespace
        namespaces = (given,) if given else probes.namespaces_for(seen)
        seen.probe = await probes.first_pod(reader, seen, namespaces)
        namespace = given or probes.namespace_of(seen.probe)
        seen.governance = await probes.governance(reader.client, seen, namespace)
    if parsed.request_token and not seen.is_absent:
        seen.year = await probes.year(reader.client, seen)
    return with_its_commands(run(all_checks, seen), seen)


async def _before(parsed: argparse.Namespace, reader: Reader) -> Results:
    all_checks = tuple(checks_before.checks())
    server: Server | Unseen = await reading.server(reader.client)
    if isinstance(server, Unseen):
        return run(all_checks, _unreachable(parsed, reader, server))
    return run(all_checks, await before.read(reader, parsed.webhook_namespace, server))


def _unreachable(parsed: argparse.Namespace, reader: Reader, server: Unseen) -> Installation:
    """Nothing else is looked at where the API server does not answer."""
    own = parsed.webhook_namespace or ""
    return Installation(__version__, reader.client.now(), own, server)
