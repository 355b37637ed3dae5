"""`boundtoken inject | uninject | diff`: what the webhook would decide, written into manifests,
taken out again, or shown.
"""

import argparse
import re
import sys

from ..errors import BadInput
from .arguments import safe
from .input import STANDARD_INPUT
from .manifests import report
from .manifests.changing import Changed, Changer, template_paths
from .manifests.differences import unified
from .manifests.policies import Policies
from .manifests.reading import sources
from .manifests.replacing import Replacement, replace

PROBLEMS = 1
_STARTS = re.compile(r"---(\s|$)")
"""What begins a document; `---a` begins a text."""


def inject(parsed: argparse.Namespace) -> int:
    """Write the manifests as admission would make their pods."""
    return _write(parsed, *_injected(parsed))


def uninject(parsed: argparse.Namespace) -> int:
    """Write the manifests without what `inject` wrote."""
    _check(parsed)
    changer = Changer(None, template_paths(parsed), expand_aliases=parsed.expand_aliases)
    return _write(parsed, changer.change(sources(parsed.file)))


def diff(parsed: argparse.Namespace) -> int:
    """Print what `inject` would change; exit 1 if that is anything."""
    results, problems = _injected(parsed)
    report.show(results, parsed.report, problems)
    for result in results:
        _print("".join(unified(result, safe(result.source.name).lstrip("/"))))
    return PROBLEMS if any(result.is_changed for result in results) else 0


def _injected(parsed: argparse.Namespace) -> tuple[list[Changed], tuple[str, ...]]:
    """The files after the change, and what of the cluster could not be seen."""
    _check(parsed)
    paths = template_paths(parsed)
    found = sources(parsed.file)
    policies = Policies(parsed, found)
    changer = Changer(policies, paths, expand_aliases=parsed.expand_aliases)
    return changer.change(found), policies.problems


def _check(parsed: argparse.Namespace) -> None:
    """Raises: BadInput, for flags that do not go together"""
    in_place = getattr(parsed, "in_place", False)
    if in_place and STANDARD_INPUT in parsed.file:
        raise BadInput("--in-place needs files: standard input (-) cannot be changed")
    given = [*parsed.file, *(getattr(parsed, "namespace_file", None) or ())]
    if given.count(STANDARD_INPUT) > 1:
        raise BadInput("only one file can come from standard input")
    has_cluster = getattr(parsed, "kubeconfig", None) or getattr(parsed, "context", None)
    if has_cluster and not parsed.from_cluster:
        raise BadInput("--kubeconfig and --context go with --from-cluster")
    if getattr(parsed, "backup", False) and not in_place:
        raise BadInput("--backup goes with --in-place")


def _write(
    parsed: argparse.Namespace, results: list[Changed], problems: tuple[str, ...] = ()
) -> int:
    if parsed.in_place:
        # A file that is there by two names is one.
        replacements = {
            path.resolve(): Replacement(path, result.source.text.encode(), result.text.encode())
            for result in results
            if result.is_changed and (path := result.source.path) is not None
        }
        replace(list(replacements.values()), backup=parsed.backup)
    else:
        _print(_joined(results))
    report.show(results, parsed.report, problems)
    return 0


def _joined(results: list[Changed]) -> str:
    """One file to the byte; several as one stream, with what separates documents between them."""
    if len(results) == 1:
        return results[0].text
    pieces: list[str] = []
    for result in results:
        text = result.text.removeprefix(result.source.mark)
        if pieces and not _STARTS.match(text):
            pieces.append("---\n")
        pieces += [text, "" if not text or text.endswith("\n") else "\n"]
    return "".join(pieces)


def _print(text: str) -> None:
    """As it is: print would change line ends. Raises: BadInput, where standard output is closed"""
    if sys.stdout is None:
        raise BadInput("standard output is closed")
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
