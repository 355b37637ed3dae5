"""JSON and YAML: the report as it is. What is not ASCII is escaped, so that no text of an object
steers a terminal.
"""

import json
from typing import Any

import msgspec
import yaml

from ....scanning.report import Report

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The one of libyaml, where PyYAML has it, is ten times as fast."""


def render_json(report: Report) -> str:
    return json.dumps(plain(report), indent=2) + "\n"


def render_yaml(report: Report) -> str:
    return str(yaml.dump(plain(report), Dumper=_DUMPER, sort_keys=False, allow_unicode=False))


def plain(report: Report) -> Any:
    """The report as JSON has it."""
    found = msgspec.json.decode(msgspec.json.encode(report))
    if report.since is None:
        del found["since"]
    return found
