"""JUnit's XML, which CI systems show: a suite for each code, a failed test for each finding. A code
without findings is one passed test, so that a suite is never empty.

Errors and warnings are failures; notes stand in the output of a passed test. Source of the form:
github.com/testmoapp/junitxml, which collects what Jenkins, GitLab and GitHub read.
"""

import xml.etree.ElementTree as ET

from ....core.text import one_line
from ....scanning.report import CODES, Finding, Report
from .texts import MEANINGS, by_code, title


def render(report: Report) -> str:
    found = by_code(report.findings)
    failures = sum(finding.severity != "note" for finding in report.findings)
    count = sum(len(found.get(code, ())) or 1 for code in CODES)
    root = ET.Element(
        "testsuites",
        name="boundtoken scan",
        tests=str(count + (not report.complete)),
        failures=str(failures),
        errors=str(int(not report.complete)),
        time="0",
    )
    for code in CODES:
        _suite(root, code, found.get(code, []), report.time)
    if not report.complete:
        suite = ET.SubElement(root, "testsuite", name="scan", tests="1", failures="0", errors="1")
        case = ET.SubElement(suite, "testcase", name="complete", classname="boundtoken.scan")
        ET.SubElement(case, "error", message="the scan was interrupted")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _text(root) + "\n"


def _suite(root: ET.Element, code: str, findings: list[Finding], time: str) -> None:
    failures = sum(finding.severity != "note" for finding in findings)
    suite = ET.SubElement(
        root,
        "testsuite",
        name=code,
        tests=str(len(findings) or 1),
        failures=str(failures),
        errors="0",
        timestamp=time.removesuffix("Z"),
    )
    if not findings:
        meaning = MEANINGS[code]  # type: ignore[index]
        ET.SubElement(suite, "testcase", name=f"no {meaning}", classname=f"boundtoken.{code}")
    for finding in findings:
        name = clean(title(finding) or "cluster")
        case = ET.SubElement(suite, "testcase", name=name, classname=f"boundtoken.{code}")
        if finding.place:
            case.set("file", clean(finding.place.rpartition(":")[0]))
        text = clean("\n".join(filter(None, (finding.message, finding.fix))), keep="\n")
        if finding.severity == "note":
            ET.SubElement(case, "system-out").text = text
        else:
            short = clean(finding.message)
            ET.SubElement(case, "failure", message=short, type=finding.severity).text = text


def clean(text: str, keep: str = "") -> str:
    """The text without what XML cannot have, which no escape can write either."""
    return keep.join(map(one_line, text.split(keep))) if keep else one_line(text)


def _text(root: ET.Element) -> str:
    return ET.tostring(root, encoding="unicode")
