"""The table of what becomes of automounted volumes. `injection` applies it to pods, and
`enforcement.templates` uses it to predict the volumes of the pods of a template.

Source: docs/contract.md sections 1 and 2
"""

from typing import Final, Literal, NamedTuple

Target = Literal[0, 1, 2]
CARRIER: Final = 0
ITSELF: Final = 1
NOTHING: Final = 2
"""What a mount refers to afterwards: the volume with our token, the same volume as before, or
nothing, because the mount is removed. As numbers they are indexes of the names."""


Case = tuple[bool, bool, bool]
"""Whether the pod is injected, whether its policy automounts, and whether our path is the default
path."""


class Fate(NamedTuple):
    """What becomes of an automounted volume, and of its mounts at our path and at others.

    becomes   unchanged   it stays as it came, with a token that is valid for a year
              shortened   it stays for API clients: the API server's audience and our lifetime
              rewritten   it becomes the carrier in place: our audience and our lifetime
              renamed     the same, with the name of a volume of ours; a second one is removed
              removed
    """

    becomes: Literal["unchanged", "shortened", "rewritten", "renamed", "removed"]
    at_our_path: Target
    elsewhere: Target


_UNCHANGED = Fate("unchanged", ITSELF, ITSELF)
_GONE = Fate("removed", NOTHING, NOTHING)

_FATES: dict[Case, Fate] = {
    # inject, automount, at the default path
    #
    # The plugin adds a second volume unless its own mounts stay, so the volume is rewritten in
    # place.
    (True, True, True): Fate("rewritten", ITSELF, ITSELF),
    # API clients look at the default path only. Our path is another one, so they keep their token.
    (True, True, False): Fate("shortened", CARRIER, ITSELF),
    # Without automount the plugin adds nothing, so the volume may have our name, which people know.
    (True, False, True): Fate("renamed", CARRIER, CARRIER),
    (True, False, False): Fate("removed", CARRIER, NOTHING),
    # Nobody asked for a change: a pod with automount and without injection is never touched.
    (False, True, True): _UNCHANGED,
    (False, True, False): _UNCHANGED,
    (False, False, True): _GONE,
    (False, False, False): _GONE,
}
_WITH_OURS = Fate("removed", CARRIER, CARRIER)
"""The pod already has a volume of ours at the default path. This is a second call, or a copied pod
to which the ServiceAccount plugin has added its volume again."""
_SKIPPED: dict[Case, Fate] = {
    (True, True, True): Fate("unchanged", CARRIER, ITSELF),
    (True, True, False): Fate("unchanged", CARRIER, ITSELF),
    (True, False, True): Fate("unchanged", CARRIER, CARRIER),
    (True, False, False): Fate("unchanged", CARRIER, NOTHING),
    (False, True, True): _UNCHANGED,
    (False, True, False): _UNCHANGED,
    (False, False, True): Fate("unchanged", NOTHING, NOTHING),
    (False, False, False): Fate("unchanged", NOTHING, NOTHING),
}
"""The fates of a volume that a skipped container mounts. The volume stays for that container; the
mounts are those of all other containers."""


def of_automounted(case: Case, *, has_ours: bool = False) -> Fate:
    """Return the fate of an automounted volume that no skipped container mounts."""
    inject, _, at_default = case
    return _WITH_OURS if has_ours and inject and at_default else _FATES[case]


def of_skipped(case: Case) -> Fate:
    """Return the fate of an automounted volume that a skipped container mounts."""
    return _SKIPPED[case]
