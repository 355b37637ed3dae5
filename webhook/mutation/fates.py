"""The table of what becomes of automounted volumes; `injection` follows it for pods, and
`enforcement.templates` predicts with it what a template's pods will carry.

Source: docs/contract.md sections 1 and 2
"""

from typing import Literal, NamedTuple

Target = Literal["carrier", "itself", "nothing"]
"""What a mount names afterwards: the volume that holds our token, the volume that it names now, or
nothing, because the mount is removed."""


class Fate(NamedTuple):
    """What becomes of an automounted volume, and of its mounts at our path and at others.

    becomes   unchanged   it stays as it came, with a token of a year
              shortened   it stays for API clients: the API server's audience and our lifetime
              rewritten   it is the carrier where it stands: our audience and our lifetime
              renamed     the same, and it is called like a volume of ours; a second one is removed
              removed
    """

    becomes: Literal["unchanged", "shortened", "rewritten", "renamed", "removed"]
    at_our_path: Target
    elsewhere: Target


_UNCHANGED = Fate("unchanged", "itself", "itself")
_GONE = Fate("removed", "nothing", "nothing")

_FATES: dict[tuple[bool, bool, bool], Fate] = {
    # inject, automount, our path is the default path
    (True, True, True): Fate("rewritten", "itself", "itself"),
    (True, True, False): Fate("shortened", "carrier", "itself"),
    (True, False, True): Fate("renamed", "carrier", "carrier"),
    (True, False, False): Fate("removed", "carrier", "nothing"),
    (False, True, True): _UNCHANGED,
    (False, True, False): _UNCHANGED,
    (False, False, True): _GONE,
    (False, False, False): _GONE,
}
_WITH_OURS = Fate("removed", "carrier", "carrier")
"""At the default path, where the pod has a volume of ours already: a second call, or a copied pod
to which the ServiceAccount plugin has added its own again."""
_SKIPPED: dict[tuple[bool, bool, bool], Fate] = {
    (True, True, True): Fate("unchanged", "carrier", "itself"),
    (True, True, False): Fate("unchanged", "carrier", "itself"),
    (True, False, True): Fate("unchanged", "carrier", "carrier"),
    (True, False, False): Fate("unchanged", "carrier", "nothing"),
    (False, True, True): _UNCHANGED,
    (False, True, False): _UNCHANGED,
    (False, False, True): Fate("unchanged", "nothing", "nothing"),
    (False, False, False): Fate("unchanged", "nothing", "nothing"),
}
"""Of a volume that a skipped container mounts. Its mounts are those of all other containers."""


def of_automounted(
    *, inject: bool, automount: bool, at_default: bool, has_ours: bool = False
) -> Fate:
    """The fate of an automounted volume that no skipped container mounts."""
    if has_ours and inject and at_default:
        return _WITH_OURS
    return _FATES[inject, automount, at_default]


def of_skipped(*, inject: bool, automount: bool, at_default: bool) -> Fate:
    """The fate of an automounted volume that a skipped container mounts."""
    return _SKIPPED[inject, automount, at_default]
