"""Checks of the policies that the API server enforces by itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..core import names, policy
from ..enforcement.policies import bindings
from . import shipped
from .facts import NOT_LOOKED_AT, Installation
from .model import Check, Finding, Unseen, all_of, there
from .objects import Specified

GROUP = "Policies of the API server"
APPLY = "kubectl apply -k manifests"


def present(seen: Installation) -> Finding:
    """Whether each policy has what this release ships."""
    problems = [*_differences("validatingadmissionpolicy", seen.policies, shipped.POLICIES)]
    problems += [
        f"validatingadmissionpolicy/{name} is missing"
        for name in shipped.OTHER_POLICIES
        if seen.policies.get(name, NOT_LOOKED_AT) is None
    ]
    return all_of(problems, APPLY, text=f"{len(seen.policies)} policies")


def bound(seen: Installation) -> Finding:
    """Whether each has its binding, without which nothing is denied."""
    problems = [
        *_differences("validatingadmissionpolicybinding", seen.bindings, shipped.BINDINGS),
        *(
            f"validatingadmissionpolicybinding/{name} is missing"
            for name in shipped.OTHER_POLICIES
            if seen.bindings.get(name, NOT_LOOKED_AT) is None
        ),
    ]
    return all_of(problems, APPLY, text=f"{len(seen.bindings)} bindings")


def _differences(
    kind: str, found: Mapping[str, Specified | Unseen | None], expected: Mapping[str, Any]
) -> Iterator[str]:
    for name, spec in expected.items():
        part = found.get(name, NOT_LOOKED_AT)
        if part is None:
            yield f"{kind}/{name} is missing"
        elif (place := _difference(there(part).content, spec)) is not None:
            yield f"{kind}/{name} is not that of this release: {place or 'spec'}"


def _difference(has: Any, expected: Any, place: str = "spec") -> str | None:
    """The first place where something is not as expected; what the API server adds is no
    difference.
    """
    if isinstance(expected, dict) and isinstance(has, dict):
        found = (
            _difference(has.get(key), value, f"{place}.{key}") for key, value in expected.items()
        )
        return next((one for one in found if one is not None), None)
    if isinstance(expected, list) and isinstance(has, list) and len(has) == len(expected):
        found = (
            _difference(one, value, f"{place}[{number}]")
            for number, (one, value) in enumerate(zip(has, expected, strict=True))
        )
        return next((one for one in found if one is not None), None)
    return None if has == expected else place


def settings(seen: Installation) -> Finding:
    """Whether the bindings have the settings of a configuration, as a replica writes them."""
    problems = []
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
    return all_of(problems, f"kubectl logs -n {seen.own} deployment/boundtoken", text="as written")


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "policies",
        GROUP,
        "every policy is that of this release",
        "Apply manifests/80-…, 85-enforcement.yaml and 90-misplaced.yaml again.",
        present,
    )
    yield Check(
        "policy-bindings",
        GROUP,
        "every policy is bound",
        "Apply manifests/80-…, 85-enforcement.yaml and 90-misplaced.yaml again.",
        bound,
    )
    yield Check(
        "policy-settings",
        GROUP,
        "the bindings have the configuration's settings",
        "The replicas write them, and again within a minute: look at their log.",
        settings,
    )
