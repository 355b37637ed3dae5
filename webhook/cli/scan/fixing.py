"""Patches of a scan in a folder, for a person to read and to apply: a folder for each namespace, a
file for each object, and a script of a few lines. Nothing is applied here.

Why no server-side apply: a later patch by the same manager would take off what an earlier one set.
"""

import hashlib
import shlex
from pathlib import Path

import yaml

from ...errors import BadInput
from ...scanning.fixes import Fix, fixes
from ...scanning.report import Report
from ..process import say

SCRIPT_NAME = "apply.sh"
SCRIPT = """#!/bin/sh
# Applies the patches beside it; with --dry-run=server nothing is changed. Read them first.
set -e
cd "$(dirname "$0")"
for patch in */*.yaml; do
  kubectl patch -f "$patch" --type=merge --patch-file="$patch" "$@"
done
"""
MAX_NAME = 200
"""Characters of a name in that of a file; a longer one gets a digest."""


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
    found, path = fixes(report), Path(folder)
    if not found:
        say(f"{folder}: nothing to fix by a patch")
        return
    path.mkdir(parents=True, exist_ok=True)
    _write(path / SCRIPT_NAME, SCRIPT)
    # A namespace of Kubernetes has no dot in its name, and a manifest may have any.
    found = tuple(fix for fix in found if fix.namespace != SCRIPT_NAME)
    for fix in found:
        (path / fix.namespace).mkdir()
        _write_all(path / fix.namespace, fix)
    count = sum(len(fix.patches) for fix in found)
    script = shlex.quote(f"{folder}/{SCRIPT_NAME}")
    spaces = f"{len(found)} namespace{'' if len(found) == 1 else 's'}"
    say(f"{folder}: patches of {count} objects in {spaces}; read them, then: sh {script}")


def _write_all(folder: Path, fix: Fix) -> None:
    for remark, patch in fix.patches:
        text = yaml.safe_dump(patch, sort_keys=False)
        _write(folder / _file_name(patch["kind"], patch["metadata"]["name"]), f"# {remark}\n{text}")


def _file_name(kind: str, name: str) -> str:
    if len(name) > MAX_NAME:
        name = f"{name[:MAX_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{kind.lower()}-{name}.yaml"


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
