"""`boundtoken version`: this program, the API server, the replicas, and what does not go together.

Exit codes: 0 printed, with a warning for what does not go together, as kubectl does; 3 the cluster
cannot be reached, or does not tell its version, after what is known has been printed.
"""

import argparse
import asyncio
import json
import platform
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..core.text import one_line, truncate
from ..errors import BoundtokenError
from ..terminal import skew
from .process import protect, say, warn

if TYPE_CHECKING:
    from .versions_in_cluster import Versions

SUCCESS, FAILURE = 0, 3
MAX_CHARS = 100
"""Of a text that a cluster gives."""


def version(parsed: argparse.Namespace) -> int:
    """Print the versions."""
    protect()
    found, problem = None, ""
    if not parsed.client:
        # Not above: it needs packages that a plain installation has not.
        from .versions_in_cluster import NEEDED, SERVER, read  # noqa: PLC0415

        try:
            found = asyncio.run(read(parsed))
        except BoundtokenError as error:
            problem = str(error)
        else:
            problem = f"{SERVER}: {NEEDED}" if found.server is None else ""
    report = _report(found)
    if parsed.output == "json":
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    for text in report["warnings"]:
        warn(text)
    if problem:
        say(problem)
    return FAILURE if problem else SUCCESS


def _report(found: "Versions | None") -> dict[str, Any]:
    """What `-o json` prints; of a cluster that was not read nothing is known."""
    client = {
        "version": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()}/{platform.machine()}".lower(),
    }
    if found is None:
        nothing = {"serverVersion": None, "namespace": None, "replicas": None}
        return {"clientVersion": client, **nothing, "warnings": [], "unread": []}
    server = found.server
    replicas = found.replicas
    return {
        "clientVersion": client,
        "serverVersion": server
        and {"gitVersion": _text(server.git_version), "platform": _text(server.platform)},
        "namespace": found.namespace,
        "replicas": None
        if replicas is None
        else [replica._replace(version=_text(replica.version))._asdict() for replica in replicas],
        "warnings": skew.warnings(
            __version__, replicas or (), _text(server.git_version) if server else ""
        ),
        "unread": [
            {"what": one_line(what), "why": one_line(why)} for what, why in found.unread.items()
        ],
    }


def _text(given: str) -> str:
    return one_line(truncate(given, MAX_CHARS))


def _print(report: dict[str, Any]) -> None:
    client, server = report["clientVersion"], report["serverVersion"]
    print(f"Client Version: {client['version']}")
    print(f"Python Version: {client['python']} ({client['platform']})")
    if report["namespace"] is None:
        return
    print(f"Server Version: {server['gitVersion'] if server else 'not seen'}")
    print(f"Replica Version: {_running(report)}")
    for unread in report["unread"]:
        print(f"not seen: {unread['what']}: {unread['why']}")


def _running(report: dict[str, Any]) -> str:
    replicas = report["replicas"]
    if replicas is None:
        return f"not seen in {report['namespace']}"
    if not replicas:
        return f"no replica runs in {report['namespace']}"
    counts: dict[str, int] = {}
    for replica in replicas:
        counts[replica["version"]] = counts.get(replica["version"], 0) + 1
    return ", ".join(
        f"{version} ({count} replica{'' if count == 1 else 's'})"
        for version, count in sorted(counts.items())
    )
