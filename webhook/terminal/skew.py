"""Which versions go together: this program, the replicas of a cluster, and its API server."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..core.text import one_line, quote

OLDEST_KUBERNETES = (1, 30)
"""ValidatingAdmissionPolicies are stable since then (docs/kubernetes.md)."""
NEWEST_KUBERNETES = (1, 37)
"""The newest minor version that the tests run (tests/controlplane/go.mod)."""
_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?P<rest>[-+.].*)?", re.ASCII)
_RELEASE = re.compile(r"v?\d{1,3}\.\d{1,6}\.\d{1,6}(-(alpha|beta|rc)\.\d{1,6})?", re.ASCII)
UNKNOWN = "unknown"


class Replica(NamedTuple):
    """A pod of boundtoken. `version` is UNKNOWN where nothing tells it; `source` is what did."""

    name: str
    version: str
    source: str


def of_image(image: str) -> str:
    """The version in the tag of an image; empty where it has no tag, or one that may be something
    else, such as a variant, a date, or what `git describe` gives.
    """
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag.removeprefix("v") if _RELEASE.fullmatch(tag) else ""


def warnings(client: str, replicas: Sequence[Replica], kubernetes: str) -> list[str]:
    """A sentence for everything that does not go together. `kubernetes` is the API server's
    gitVersion, empty where it is not known.
    """
    running = sorted({replica.version for replica in replicas} - {UNKNOWN}, key=_order)
    found = [_compared(client, other) for other in running if _order(other) != _order(client)]
    if len({_order(version) for version in running}) > 1:
        versions = ", ".join(map(quote, running))
        found.append(f"the replicas run several versions: {versions}; is an upgrade under way?")
    return [*found, *_kubernetes(kubernetes)]


def _compared(client: str, other: str) -> str:
    age = "newer" if _order(client) > _order(other) else "older"
    return (
        f"this program ({client}) is {age} than boundtoken in the cluster ({one_line(other)}): "
        "what it foretells may differ from what admission does"
    )


def _kubernetes(version: str) -> list[str]:
    numbers = _numbers(version)
    if not version or numbers is None:
        return []
    minor = numbers[:2]
    if minor < OLDEST_KUBERNETES:
        oldest = "{}.{}".format(*OLDEST_KUBERNETES)
        return [
            f"the API server ({one_line(version)}) is older than {oldest}, which boundtoken needs"
        ]
    if minor > NEWEST_KUBERNETES:
        newest = "{}.{}".format(*NEWEST_KUBERNETES)
        return [
            f"the API server ({one_line(version)}) is newer than {newest}, the newest that was tested"
        ]
    return []


def _numbers(version: str) -> tuple[int, int, int] | None:
    found = _VERSION.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _order(version: str) -> tuple[tuple[int, int, int], bool, tuple[tuple[int, str], ...]]:
    """A pre-release comes before its release, and its parts are compared as numbers where they are
    some; what follows a plus orders nothing (semver.org, 10 and 11).
    """
    numbers = _numbers(version) or (0, 0, 0)
    found = _VERSION.fullmatch(version)
    rest = ((found["rest"] or "") if found else version).partition("+")[0]
    parts = rest.removeprefix("-").split(".") if rest else []
    ordered = tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)
    return numbers, not rest.startswith("-"), ordered
