"""Guess what the author of a bad value meant: `true` for a switch, `1h` for seconds, the levels of
Pod Security. A guess is only offered where it would be accepted as it stands.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping

from ..core import levels, names

MAX_CHARS = 64
"""Of a value that is compared with others: the comparison takes quadratic time, and no word that
can be meant is as long."""
YES = ("true", "yes", "on", "y", "t", "1", "enable")
NO = ("false", "no", "off", "n", "f", "0", "disable", "none")

_SWITCH = {**dict.fromkeys(YES, "enabled"), **dict.fromkeys(NO, "disabled")}
_LEVEL = {
    **dict.fromkeys((*NO, "disabled", "privileged"), "off"),
    "baseline": "bound",  # the levels of Pod Security, which people know
    "restricted": "strict",
}
_OVERRIDES = {
    **dict.fromkeys((*YES, "enabled", "allow"), "allowed"),
    **dict.fromkeys((*NO, "disabled", "deny", "forbidden"), "denied"),
}
_VERSION = {"1": "v1", "v1.0": "v1", "1.0": "v1"}
_WORDS: dict[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    names.INJECT: (_SWITCH, ("enabled", "replace", "disabled")),
    names.AUTOMOUNT: (_SWITCH, ("enabled", "disabled")),
    names.POD_OVERRIDES: (_OVERRIDES, ("allowed", "denied")),
    **dict.fromkeys(levels.LEVEL_OF.values(), (_LEVEL, levels.LEVELS)),
    **dict.fromkeys(levels.VERSION_OF.values(), (_VERSION, (*levels.VERSIONS, "latest"))),
}
"""For annotations that take a word: other words for the right ones, and the right ones."""
_SECONDS = (names.EXPIRATION_SECONDS, names.MAX_EXPIRATION_SECONDS)
_DURATION = re.compile(
    r"(?:([0-9]{1,6})d(?:ays?)?)?(?:([0-9]{1,7})h(?:ours?)?)?(?:([0-9]{1,9})m(?:in(?:utes?)?)?)?"
    r"(?:([0-9]{1,10})(?:s(?:ec(?:onds?)?)?)?)?"
)
_UNITS = (86400, 3600, 60, 1)


def guess(annotation: str, value: str, accepts: Callable[[str], bool]) -> str:
    """Return the value that was probably meant; empty if none is close. `accepts` says whether a
    value is a good one for this annotation.
    """
    for candidate in _candidates(annotation, value):
        if candidate and candidate != value and accepts(candidate):
            return candidate
    return ""


def _candidates(annotation: str, value: str) -> Iterator[str]:
    if annotation == names.MOUNT_PATH:
        # Cut before it is split, because an annotation can have 256 KiB of slashes.
        steps = value[: names.MAX_PATH_BYTES].strip().split("/")
        yield "/" + "/".join(step for step in steps if step not in ("", "."))
        return
    if len(value) > MAX_CHARS:
        return
    trimmed = value.strip().strip("\"'")
    word = trimmed.lower()
    yield trimmed
    yield word
    if annotation in _SECONDS:
        yield _in_seconds(word)
    if annotation in _WORDS:
        synonyms, right = _WORDS[annotation]
        yield synonyms.get(word, "")
        yield from difflib.get_close_matches(word, right, n=1)


def _in_seconds(text: str) -> str:
    """Return a duration such as `1h30m`, `15 min` or `86,400` in seconds; empty if it is none."""
    found = _DURATION.fullmatch(re.sub(r"[\s_,']", "", text))
    if found is None or not any(found.groups()):
        return ""
    return str(
        sum(int(number or 0) * unit for number, unit in zip(found.groups(), _UNITS, strict=True))
    )
