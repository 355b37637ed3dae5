"""Checks of the policies that the API server enforces by itself."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..core import names, policy
from ..core.text import one_line
from ..enforcement.policies import bindings
from . import shipped
from .facts import NOT_LOOKED_AT, ConfigurationFile, Installation
from .model import AGAIN, APPLY, Check, Finding, Unseen, all_of, passed, there, worst
from .objects import Specified

GROUP = "Policies of the API server"
DEFAULTS: tuple[Any, ...] = ({}, [], None, "", "*", "Equivalent")
"""What the API server fills in (admissionregistration/v1/defaults.go), and what says the same."""
_PLAIN = re.compile(r"[A-Za-z0-9]+")


def present(seen: Installation) -> Finding:
    """Whether each policy has what this release ships."""
    problems = _differences("validatingadmissionpolicy", seen.policies, shipped.POLICIES)
    commands = _removals("validatingadmissionpolicy", seen.policies, shipped.POLICIES)
    return all_of(problems, APPLY, *commands, text=f"{len(seen.policies)} policies")


def bound(seen: Installation) -> Finding:
    """Whether each has its binding, without which nothing is denied."""
    problems = _differences("validatingadmissionpolicybinding", seen.bindings, shipped.BINDINGS)
    commands = _removals("validatingadmissionpolicybinding", seen.bindings, shipped.BINDINGS)
    return all_of(problems, APPLY, *commands, text=f"{len(seen.bindings)} bindings")


def _differences(
    kind: str, found: Mapping[str, Specified | Unseen | None], expected: Mapping[str, Any]
) -> Iterator[str]:
    for name, spec in expected.items():
        part = found.get(name, NOT_LOOKED_AT)
        if part is None:
            yield f"{kind}/{name} is missing"
        elif (place := next(_places(there(part).content, spec), None)) is not None:
            keys, is_added = place
            where = one_line(".".join(("spec", *keys)))
            more = ", which nothing of this release sets" if is_added else ""
            yield f"{kind}/{name} is not that of this release: {where}{more}"


def _removals(
    kind: str, found: Mapping[str, Specified | Unseen | None], expected: Mapping[str, Any]
) -> Iterator[str]:
    """What takes out the first thing that somebody added, which no apply does."""
    for name, spec in expected.items():
        part = found.get(name)
        if part is None or isinstance(part, Unseen):
            continue
        added = (place for place, is_added in _places(part.content, spec) if is_added)
        place = next(added, None)
        if place is not None and all(map(_PLAIN.fullmatch, place)):
            patch = f'[{{"op":"remove","path":"/{"/".join(("spec", *place))}"}}]'
            yield f"kubectl patch {kind}/{name} --type=json -p '{patch}'"


def _places(
    has: Any, expected: Any, place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Where something is not as expected, and whether it is only there. What the API server fills
    in changes nothing, and is no difference.
    """
    if isinstance(expected, dict) and isinstance(has, dict):
        for key, value in expected.items():
            yield from _places(has.get(key), value, (*place, key))
        for key, value in has.items():
            if key not in expected and value not in DEFAULTS:
                yield (*place, key), True
    elif isinstance(expected, list) and isinstance(has, list) and len(has) == len(expected):
        for number, (one, value) in enumerate(zip(has, expected, strict=True)):
            yield from _places(one, value, (*place, str(number)))
    elif not _is_same(has, expected):
        yield place, False


def _is_same(has: Any, expected: Any) -> bool:
    """Whether two values say the same: kustomize folds the lines of an expression anew. In one with
    a comment a line has its end, which counts.
    """
    if isinstance(has, str) and isinstance(expected, str) and "//" not in expected:
        return has.split() == expected.split()
    return bool(has == expected)


def settings(seen: Installation) -> Finding:
    """Whether the bindings have the settings of the configuration, as a replica writes them."""
    problems, earlier = [], []
    for name in names.POLICY_BINDINGS:
        part = seen.bindings.get(name, NOT_LOOKED_AT)
        if part is None:
            continue
        annotations = policy.own_annotations(there(part).metadata.annotations)
        rest = {key: text for key, text in annotations.items() if key != names.CONFIG_DIGEST}
        title = f"validatingadmissionpolicybinding/{name}"
        if not annotations:
            problems.append(f"{title} has no settings: no replica has written them yet")
        elif annotations.get(names.CONFIG_DIGEST) != bindings.digest(rest):
            problems.append(f"{title}: its settings were edited by hand")
        elif not _is_of_file(name, annotations, seen.file):
            earlier.append(name)
    log = f"kubectl logs -n {seen.own} -l app.kubernetes.io/name={names.APP} --prefix --ignore-errors --tail=-1"
    return worst(all_of(problems, log), _unread(seen, earlier, log), text="as written")


def _is_of_file(
    name: str, annotations: dict[str, str], file: ConfigurationFile | Unseen | None
) -> bool:
    """Whether settings are of the ConfigMap, where that is known. What replicas have found out of
    the API server's audiences is no difference.
    """
    if not isinstance(file, ConfigurationFile) or file.policy is None:
        return True
    audiences = tuple(annotations.get(names.API_AUDIENCES, "").split())
    cluster = msgspec.structs.replace(file.policy, api_audiences=audiences)
    text = file.text if name == names.POD_POLICY else ""
    return bindings.state(annotations, bindings.annotations(cluster, text)) == "in-sync"


def _unread(seen: Installation, earlier: list[str], command: str) -> Finding:
    if not earlier or not isinstance(seen.file, ConfigurationFile):
        return passed()
    text = f"no replica has read configmap/{seen.file.name}: the settings on {', '.join(earlier)}"
    return seen.file.unread(f"{text} are of another configuration", command)


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "policies",
        GROUP,
        "every policy is that of this release",
        AGAIN,
        present,
    )
    yield Check(
        "policy-bindings",
        GROUP,
        "every policy is bound",
        AGAIN,
        bound,
    )
    yield Check(
        "policy-settings",
        GROUP,
        "the bindings have the configuration's settings",
        "The replicas write them, and rewrite them within a minute: look at their log.",
        settings,
    )
