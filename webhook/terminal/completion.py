"""What may stand at the end of a command line, by the parser that will read it.

Nothing is written twice: commands, flags and closed values are those of the parser, and a metavar
says what else a value is: `FILE`, `DIR`, `TYPE/NAME`, `ACCOUNT`, `POD`, a word of a closed list,
`on|off`, or several of one, `missing,stale`. Names of namespaces and contexts are known by their
flags.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from ..core.text import one_line, truncate

Kind = Literal["", "file", "folder", "namespace", "context", "object", "account", "pod"]
"""Of what is no list of the parser; empty where nothing may be proposed."""
_FLAGS: dict[str, Kind] = {
    "namespace": "namespace",
    "webhook_namespace": "namespace",
    "dry_run_namespace": "namespace",
    "context": "context",
}
_METAVARS: dict[str, Kind] = {
    "FILE": "file",
    "TOKEN-FILE": "file",
    "COMMAND": "file",
    "DIR": "folder",
    "TYPE/NAME": "object",
    "ACCOUNT": "account",
    "POD": "pod",
}
_CLOSED = re.compile(r"[A-Z]?[a-z-]+(\|[A-Z]?[a-z-]+)+")
_LIST = re.compile(r"[a-z-]+(,[a-z-]+)+")
NO_SPACE, NO_FILES, FOLDERS = 2, 4, 16
"""How a shell goes on, as numbers that kubectl passes to it (cobra's ShellCompDirective)."""
MAX_CANDIDATES = 200
"""A list that a person looks through."""
MAX_WORDS = 500
"""Of a command line; what is longer is no line that a person completes."""
MAX_DESCRIPTION = 70


class Command(Protocol):
    """A parser, as far as it is read here."""

    description: str | None

    @property
    def actions(self) -> Sequence[argparse.Action]: ...


class SeveralWords(argparse.Action):
    """An argument of several words, of which each says what may follow it."""

    def words_after(self, words: tuple[str, ...]) -> Mapping[str, str | None]:
        """What may follow these, with what each of it does."""
        raise NotImplementedError


class Candidate(NamedTuple):
    """A word that may stand there, and what it does."""

    word: str
    description: str = ""


class Line(NamedTuple):
    """A command line that ends with `current`, of which the user has typed so much.

    `candidates` are of the parser; `kind` is what else may stand there. `flags` has the last value
    of each flag before, `given` the arguments of the command before. `flag` is the flag that stands
    in the same word before `current`: `--output=`, `-o`.
    """

    current: str
    candidates: tuple[Candidate, ...]
    kind: Kind
    flags: Mapping[str, str]
    given: tuple[str, ...]
    flag: str = ""


class _Unknown:
    """A command that there is not: nothing may stand behind it."""

    description = None
    actions: tuple[argparse.Action, ...] = ()


class _Reading:
    """The command that the words so far have led to."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.flags: dict[str, str] = {}
        self.given: list[str] = []
        self.only_arguments = False
        self.flag: argparse.Action | None = None
        """Whose value comes next, or may come."""

    def take(self, word: str) -> None:
        """Go on behind a word."""
        if not self.only_arguments and len(word) > 1 and word.startswith("-"):
            self._take_flag(word)
        elif self.flag is not None:
            self.flags[self.flag.dest] = word
            if self.flag.nargs not in ("+", "*"):
                self.flag = None
        else:
            self._take_argument(word)

    def _take_flag(self, word: str) -> None:
        if word == "--":
            self.only_arguments, self.flag = True, None
            return
        self.flag = None
        flag, start = self.attached(word)
        if flag is not None:
            self.flags[flag.dest] = word[start:]
            return
        flag = self.find(word) or self.find(f"-{word[-1]}")  # -An VALUE
        if flag is not None and flag.nargs != 0:
            self.flag = flag

    def attached(self, word: str) -> tuple[argparse.Action | None, int]:
        """The flag whose value stands in the same word, and where that begins: `--output=json`,
        `-ojson`, or `-Aojson`, in which `-A` takes no value. None where there is no such flag.
        """
        name, equals, _ = word.partition("=")
        if equals and (flag := self.find(name)) is not None:
            return flag, len(name) + 1
        if word.startswith("--") or self.find(word) is not None:
            return None, 0
        for end, letter in enumerate(word[1:-1], start=2):
            flag = self.find(f"-{letter}")
            if flag is None or flag.nargs != 0:
                return flag, end if flag is not None else 0
        return None, 0

    def _take_argument(self, word: str) -> None:
        action = self.argument()
        choices = action.choices if action is not None else None
        if isinstance(choices, Mapping):
            self.command, self.given = choices.get(word, _Unknown()), []
            return
        self.given.append(word)
        # What follows is for another program.
        self.only_arguments |= action is not None and action.nargs == argparse.PARSER

    def find(self, name: str) -> argparse.Action | None:
        """The flag of this name."""
        return next((one for one in self.command.actions if name in one.option_strings), None)

    def argument(self) -> argparse.Action | None:
        """What the next argument is; the last one may stand several times."""
        several = ("*", "+", argparse.PARSER)
        actions = [one for one in self.command.actions if not one.option_strings]
        if len(self.given) < len(actions):
            return actions[len(self.given)]
        return actions[-1] if actions and actions[-1].nargs in several else None


def read(command: Command, words: Sequence[str]) -> Line:
    """What may stand instead of the last word, which may be empty."""
    reading = _Reading(command)
    for word in words[:-1][:MAX_WORDS]:
        reading.take(word)
    current = words[-1] if words else ""
    action, flag, is_flag = reading.flag or reading.argument(), "", False
    literal = _literal(action) if reading.flag is None else ""
    if literal and reading.given[:1] == [literal]:
        reading.given, literal = reading.given[1:], ""
    if not reading.only_arguments and current.startswith("-"):
        action, start = reading.attached(current)
        flag, current = current[:start], current[start:]
        # What has the form of one and is none has no value either.
        is_flag = action is None and "=" not in current
    elif action is None and not reading.only_arguments:
        is_flag = True  # a command that takes no argument has only flags left
    if literal and not flag and not is_flag:
        words_there = iter(() if reading.given else (Candidate(literal),))
        return Line(current, matching(words_there, current), "", reading.flags, ())
    given = tuple(reading.given)
    found = _flags(reading.command, current) if is_flag else _values(action, current, given)
    kind: Kind = "" if is_flag or action is None else _kind(action)
    return Line(current, matching(found, current), kind, reading.flags, given, flag)


def matching(found: Iterator[Candidate], prefix: str) -> tuple[Candidate, ...]:
    """Those that begin so, at most MAX_CANDIDATES."""
    taken = [one for one in found if one.word.startswith(prefix)]
    return tuple(taken[:MAX_CANDIDATES])


def answer(candidates: Sequence[Candidate], directive: int, flag: str = "") -> str:
    """What a shell reads: a candidate on each line, and at last how it goes on; where it goes on
    with files, behind the flag of the same word.
    """
    lines = ["\t".join(filter(None, one)) for one in candidates]
    is_of_files = not candidates and directive in (0, FOLDERS)
    end = f":{directive} {flag}" if flag and is_of_files else f":{directive}"
    return "\n".join([*lines, end, ""])


def directive(line: Line) -> int:
    """How a shell goes on where nothing live is proposed."""
    if line.candidates:
        return NO_FILES
    return {"file": 0, "folder": FOLDERS}.get(line.kind, NO_FILES)


def _flags(command: Command, current: str) -> Iterator[Candidate]:
    """Short ones only for who has typed one dash and no second."""
    is_short = current.startswith("-") and not current.startswith("--")
    for action in command.actions:
        for name in action.option_strings:
            if is_short or name.startswith("--"):
                yield Candidate(name, _short(action.help))


def _values(
    action: argparse.Action | None, current: str, given: tuple[str, ...]
) -> Iterator[Candidate]:
    if action is None:
        return
    metavar = str(action.metavar or "")
    if isinstance(action, SeveralWords):
        for name, description in action.words_after(given).items():
            yield Candidate(name, _short(description))
    elif isinstance(action.choices, Mapping):
        for name, command in action.choices.items():
            yield Candidate(name, _short(command.description))
    elif action.choices is not None:
        yield from (Candidate(str(choice)) for choice in action.choices)
    elif _CLOSED.fullmatch(metavar):
        yield from map(Candidate, metavar.split("|"))
    elif _LIST.fullmatch(metavar):
        before, comma, _ = current.rpartition(",")
        there = before.split(",")
        yield from (
            Candidate(before + comma + word) for word in metavar.split(",") if word not in there
        )


def _literal(action: argparse.Action | None) -> str:
    """The word that stands before an argument, such as `workload TYPE/NAME`."""
    word, blank, _ = (
        str(action.metavar or "").partition(" ") if action is not None else ("", "", "")
    )
    return word if blank else ""


def _kind(action: argparse.Action) -> Kind:
    if isinstance(action, SeveralWords) or action.choices is not None:
        return ""
    if action.dest in _FLAGS:
        return _FLAGS[action.dest]
    parts = str(action.metavar or "").rpartition(" ")[2].split("|")
    return next((_METAVARS[part] for part in parts if part in _METAVARS), "")


def _short(text: str | None) -> str:
    return one_line(truncate((text or "").replace("%%", "%").removesuffix("."), MAX_DESCRIPTION))
