"""Our volumes: told from all others by name and shape together, and the tokens in them brought to a policy.

A volume that somebody else calls `boundtoken` is never ours, and never touched.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Literal

from . import names, patch, pieces, pods
from .patch import Operation
from .pods import Pod, Volume
from .wishes import Locks, Token

_OURS = re.compile(re.escape(names.VOLUME) + r"(-[0-9a-f]{8})?")
_OUR_TOKENS = re.compile(re.escape(names.TOKENS_VOLUME) + r"(-[0-9a-f]{8})?")

FORESEEN = 8
"""Names of a volume that depend on nothing but their number."""


def is_ours(volume: Volume) -> bool:
    """Whether it is our main volume: by name and shape together, so that a foreign `boundtoken` stays foreign."""
    if volume.projected is None or not volume.name.startswith(names.VOLUME):
        return False
    return _OURS.fullmatch(volume.name) is not None and pods.gives_api_access(volume)


def carries_ours(pod: Pod, *, tokens: bool) -> bool:
    """Whether the pod has a volume of ours already: a second call, or a pod that was copied from a living one.

    One of further tokens counts only where `tokens` are wanted: elsewhere it goes, and a second call would not find it.
    """
    return any(is_ours(volume) or (tokens and is_our_tokens(volume)) for volume in pod.spec.volumes or ())


def is_our_tokens(volume: Volume) -> bool:
    """Whether it is our second volume, of further tokens."""
    if volume.projected is None or not volume.name.startswith(names.TOKENS_VOLUME):
        return False
    return _OUR_TOKENS.fullmatch(volume.name) is not None and pods.gives_only_tokens(volume)


def free_name(base: str, volumes: tuple[Volume, ...]) -> str:
    """`base`, or `base-<8 hex digits>` where a foreign volume has that name; the same for the same pod, always.

    Why a hash and nothing random: a second call must find the name of the first. Where somebody has taken one after the
    other, the hash is of all names, which nobody can foresee and take as well.
    """
    taken = {volume.name for volume in volumes}
    name, attempt, more = base, 0, ""
    while name in taken:
        attempt += 1
        if attempt == FORESEEN:
            more = ",".join(volume.name for volume in volumes)
        name = f"{base}-{hashlib.sha256(f'{base}/{attempt}{more}'.encode(errors='replace')).hexdigest()[:8]}"
    return name


def settle(volumes: tuple[Volume, ...], at: int, audience: str, seconds: int, operations: list[Operation]) -> None:
    """Append what gives the API access token of the volume at index `at` this audience and lifetime."""
    projected = volumes[at].projected
    for number, source in enumerate((projected.sources or ()) if projected is not None else ()):
        token = source.service_account_token
        if token is None or token.path != names.TOKEN_FILE:
            continue
        held = token.expiration_seconds
        if held != seconds:
            operations.append(pieces.lifetime("add" if held is None else "replace", at, number, seconds))
        if (token.audience or "") != audience:
            pointer = f"{pieces.token_pointer(at, number)}/audience"
            verb = patch.add if token.audience is None else patch.replace
            operations.append(verb(pointer, audience) if audience else patch.remove(pointer))


def settle_tokens(at: int, volume: Volume, tokens: tuple[Token, ...]) -> Iterator[Operation]:
    """What gives our second volume, at index `at`, these further tokens and no others."""
    there, pointer = volume.sources, f"/spec/volumes/{at}/projected/sources"
    for number, token in enumerate(tokens):
        held = there[number].service_account_token if number < len(there) else None
        if held is None:
            yield patch.add(f"{pointer}/-", {"serviceAccountToken": pieces.token_source(token)})
        elif (held.path, held.audience, held.expiration_seconds) != (
            token.file,
            token.audience,
            token.expiration_seconds,
        ):
            yield patch.replace(f"{pointer}/{number}/serviceAccountToken", pieces.token_source(token))
    yield from (patch.remove(f"{pointer}/{number}") for number in range(len(there) - 1, len(tokens) - 1, -1))


def held_down(volumes: tuple[Volume, ...], locks: Locks) -> list[Operation]:
    """What keeps the tokens within the locks in volumes of ours that came from elsewhere into a pod that is not injected."""
    operations: list[Operation] = []
    for at, volume in enumerate(volumes):
        if volume.name.startswith(names.VOLUME) and (is_ours(volume) or is_our_tokens(volume)):
            operations += held_down_at(at, volume, locks)
    return operations


def held_down_at(at: int, volume: Volume, locks: Locks) -> Iterator[Operation]:
    """The same for the volume at index `at`: lifetimes capped, and no audience that is not allowed.

    The API access token falls back to the API server's own audience. Any other token goes: whoever reads it wants that
    audience and no other, and must not be handed a token for the API server instead.
    """
    gone = []
    for number, source in enumerate(volume.sources):
        token = source.service_account_token
        if token is None:
            continue
        if not locks.allows(token.audience or ""):
            if token.path != names.TOKEN_FILE or not is_ours(volume):
                gone.append(number)
                continue
            yield patch.remove(f"{pieces.token_pointer(at, number)}/audience")
        held = names.API_DEFAULT_EXPIRATION_SECONDS if token.expiration_seconds is None else token.expiration_seconds
        if locks.capped(held) != held:
            verb: Literal["add", "replace"] = "add" if token.expiration_seconds is None else "replace"
            yield pieces.lifetime(verb, at, number, locks.capped(held))
    yield from (patch.remove(f"/spec/volumes/{at}/projected/sources/{number}") for number in reversed(gone))
