"""SARIF 2.1.0, for code scanning: a result for each finding. The object of a cluster is a logical
location; a file of a manifest is a physical one too, with its line.

Source: docs.oasis-open.org/sarif/sarif/v2.1.0 (schema sarif-2.1.0).
"""

import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

from .... import __version__
from ....scanning.report import CODES, Finding, Report
from .texts import MEANINGS, incomparable, title

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def render(report: Report) -> str:
    findings = report.findings
    run: dict[str, Any] = {
        "tool": {"driver": _driver()},
        "invocations": [
            {
                "executionSuccessful": report.complete,
                "endTimeUtc": report.time,
                "toolExecutionNotifications": [
                    {"level": "warning", "message": {"text": f"{what}: {why}"}}
                    for what, why in (
                        *((one.what, one.why) for one in report.unread),
                        *incomparable(report),
                    )
                ],
            }
        ],
        "results": [_result(finding, is_new=report.since is not None) for finding in findings],
    }
    if report.since is not None:
        run["results"] += [
            {**_result(finding, is_new=False), "baselineState": "absent"}
            for finding in report.since.findings
        ]
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _driver() -> dict[str, Any]:
    rules = [
        {
            "id": code,
            "name": code.title().replace("-", ""),
            "shortDescription": {"text": MEANINGS[code]},
        }
        for code in CODES
    ]
    return {"name": "boundtoken", "semanticVersion": __version__, "rules": rules}


def _result(finding: Finding, *, is_new: bool) -> dict[str, Any]:
    where = title(finding)
    message = f"{where}: {finding.message}" + (f" ({finding.fix})" if finding.fix else "")
    logical = {"fullyQualifiedName": where, "kind": "resource"}
    location: dict[str, Any] = {"logicalLocations": [logical]}
    file, _, line = finding.place.rpartition(":")
    if file and line.isascii() and line.isdigit():
        region = {"startLine": max(1, int(line))}
        location["physicalLocation"] = {
            "artifactLocation": {"uri": quote(file.removeprefix("./"), safe="/")},
            "region": region,
        }
    digest = hashlib.sha256(f"{finding.code}\0{where}".encode(errors="replace")).hexdigest()
    found: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": CODES.index(finding.code),
        "level": finding.severity,
        "message": {"text": _plain(message)},
        "locations": [location],
        "partialFingerprints": {"object/v1": digest},
    }
    return {**found, "baselineState": "new"} if is_new else found


_SPECIAL = re.compile(r"[\\\[\]{}]")


def _plain(text: str) -> str:
    """The text without a link or a placeholder in it (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    doubled = {"{": "{{", "}": "}}"}
    return _SPECIAL.sub(lambda found: doubled.get(found[0], f"\\{found[0]}"), text)
