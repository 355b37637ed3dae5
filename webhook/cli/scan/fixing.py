"""Patches of a scan in a folder: a file for each namespace, for a person to read and to apply.
Nothing is applied here.
"""

from pathlib import Path

import yaml

from ...errors import BadInput
from ...scanning.fixes import Fix, fixes
from ...scanning.report import Report
from ..process import say

APPLY = "kubectl apply --server-side --field-manager=boundtoken-scan -f"


def check(folder: str) -> None:
    """Raises: BadInput, where the folder is there and not empty, or is no folder"""
    path = Path(folder)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise BadInput(f"--fix={folder!a}: must be a new or an empty folder")
    except (OSError, ValueError) as problem:
        raise BadInput(f"--fix={folder!a}: must be a folder: {problem}") from problem


def write(folder: str, report: Report) -> None:
    """Write the patches, and say how to apply them."""
    found = fixes(report)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for fix in found:
        with (path / f"{fix.namespace}.yaml").open("x", encoding="utf-8") as file:
            file.write(text_of(fix))
    if not found:
        say(f"{folder}: nothing to fix by a patch")
        return
    objects = sum(len(fix.objects) for fix in found)
    say(
        f"{folder}: {objects} patches for {len(found)} namespaces; read them, then: {APPLY} {folder}"
    )


def text_of(fix: Fix) -> str:
    """The file of a namespace."""
    head = "".join(f"# {remark}\n" for remark in fix.remarks)
    note = f"# Parts of objects, which leave the rest as it is: {APPLY} FILE\n"
    return head + note + str(yaml.safe_dump_all(fix.objects, sort_keys=False, explicit_start=True))
